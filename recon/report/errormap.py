"""How far each vertex of a mesh is from where it should be, and the colours that say so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from scipy.spatial import cKDTree

from recon.io.types import Cloud, Mesh

CLIP = 98.0  # per cent of the vertices that the colour range holds; the rest has the last colour
SAMPLES = 300_000
CANDIDATES = 8


@dataclass(frozen=True)
class ErrorMap:
    """Distances of vertices and their colour scale.

    Attributes:
        distances: (V,) in world units, not negative.
        unit: the unit's name, or nothing.
        limit: the distance that gets the last colour; None takes the 98th percentile.
        scale: name of a perceptually uniform matplotlib colour map.
    """

    distances: np.ndarray
    unit: str = ""
    limit: float | None = None
    scale: str = "viridis"

    @cached_property
    def top(self) -> float:
        """The distance at the upper end of the scale; 1 where there is no error at all."""
        finite = self.distances[np.isfinite(self.distances)]
        found = float(np.percentile(finite, CLIP)) if len(finite) else 0.0
        return self.limit or found or 1.0

    def colors(self) -> np.ndarray:
        """(V, 3) uint8."""
        return self._mapped(np.nan_to_num(self.distances / self.top, nan=1.0))

    def bar(self, width: int) -> np.ndarray:
        """(width, 3) uint8 from the lower to the upper end, for legends."""
        return self._mapped(np.linspace(0, 1, width))

    def ends(self) -> tuple[str, str]:
        """What the two ends of the scale say, e.g. ``("0", "0.0021 m or more")``."""
        return "0", f"{self.top:.3g} {self.unit}".rstrip() + " or more"

    def _mapped(self, share: np.ndarray) -> np.ndarray:
        # The darkest tenth is left out: under a light it could not be told from shade.
        return colormaps[self.scale](0.1 + 0.9 * np.clip(share, 0, 1), bytes=True)[..., :3]


def vertex_errors(mesh: Mesh, reference: Mesh | Cloud) -> np.ndarray:
    """The distance of every vertex of `mesh` to `reference`, (V,) float64, for colours.

    To a cloud it is the distance to the nearest point. To a mesh it is the exact distance to the nearest of the
    triangles around the 8 nearest of 300k seeded samples and face centres, which can only be too large, and by little.
    """
    if isinstance(reference, Cloud):
        points = reference.points[np.isfinite(reference.points).all(axis=1)]
        if not len(points):
            return np.full(len(mesh.vertices), np.nan)
        return cKDTree(points).query(mesh.vertices)[0]
    if reference.is_empty:
        return np.full(len(mesh.vertices), np.nan)
    corners = reference.vertices[reference.faces]
    samples, owner = _samples(corners)
    _, near = cKDTree(samples).query(mesh.vertices, k=CANDIDATES)
    best = np.full(len(mesh.vertices), np.inf)
    for column in owner[near].T:
        best = np.minimum(best, triangle_distance(mesh.vertices, corners[column]))
    return best


def triangle_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) distances of points (N, 3) to one triangle each, corners (N, 3, 3)."""
    edges = np.roll(corners, -1, axis=1) - corners
    normal = np.cross(edges[:, 0], -edges[:, 2])
    length = np.linalg.norm(normal, axis=1)
    offset = points[:, None] - corners
    inside = (np.einsum("nkd,nkd->nk", np.cross(edges, offset), normal[:, None]) >= 0).all(axis=1) & (length > 0)
    plane = np.abs(np.einsum("nd,nd->n", offset[:, 0], normal)) / np.maximum(length, 1e-300)
    along = np.einsum("nkd,nkd->nk", offset, edges) / np.maximum(np.einsum("nkd,nkd->nk", edges, edges), 1e-300)
    rest = offset - np.clip(along, 0, 1)[..., None] * edges
    return np.where(inside, plane, np.linalg.norm(rest, axis=2).min(axis=1))


def _samples(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn evenly on triangles, with their centres, and the triangle each is on."""
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    draw = np.random.default_rng(0)
    total = np.cumsum(area)
    owner = np.searchsorted(total, draw.random(SAMPLES) * total[-1]).clip(0, len(area) - 1)
    share = draw.random((SAMPLES, 2))
    share = np.where(share.sum(axis=1, keepdims=True) > 1, 1 - share, share)
    weights = np.concatenate([1 - share.sum(axis=1, keepdims=True), share], axis=1)
    drawn = np.einsum("nk,nkd->nd", weights, corners[owner])
    return np.concatenate([drawn, corners.mean(axis=1)]), np.concatenate([owner, np.arange(len(corners))])
