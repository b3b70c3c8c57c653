"""How far each vertex of a mesh is from where it should be, and the colours that say so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from scipy.spatial import cKDTree

from recon.geometry.distance import MeshDistance
from recon.io.types import Cloud, Mesh

CLIP = 98.0  # per cent of the vertices that the colour range holds; the rest has the last colour


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
    """The exact distance of every vertex of `mesh` to `reference`, (V,) float64; NaN where there is none to tell.

    To a mesh it is the distance to its surface, to a cloud that to the nearest point.
    """
    errors = np.full(len(mesh.vertices), np.nan)
    known = np.isfinite(mesh.vertices).all(axis=1)
    if isinstance(reference, Mesh):
        if not reference.is_empty:
            errors[known] = MeshDistance(reference).query(mesh.vertices[known]).distance
        return errors
    points = reference.points[np.isfinite(reference.points).all(axis=1)]
    if len(points):
        errors[known] = cKDTree(points).query(mesh.vertices[known])[0]
    return errors
