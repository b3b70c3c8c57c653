"""Points on a mesh: uniform by area, and evenly spread (blue noise)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from recon.errors import DataError
from recon.io.types import Cloud, Mesh


@dataclass(frozen=True)
class Samples:
    """Points on a mesh.

    Attributes:
        points: (N, 3) float64, in the mesh's own coordinates.
        faces: (N,) int64, the face each point lies on.
        normals: (N, 3) float64, the unit normals of those faces (zero for faces without area).
    """

    points: np.ndarray
    faces: np.ndarray
    normals: np.ndarray

    def to_cloud(self) -> Cloud:
        """The same points and normals, without their faces."""
        return Cloud(self.points, self.normals)


def face_normals_and_areas(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) unit normals by the winding of the faces, zero for faces without area, and (F,) areas."""
    corners = np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(cross, axis=1)
    return cross / np.where(twice > 0, twice, 1)[:, None], twice / 2


def sample_surface(mesh: Mesh, count: int, seed: int | np.random.Generator = 0) -> Samples:
    """Draw `count` independent points, uniform by area.

    Args:
        mesh: at least one face with an area.
        count: number of points.
        seed: a seed or a generator; equal seeds give equal points.

    Raises:
        DataError: if the mesh has no area or vertices that are not finite.
    """
    rng = np.random.default_rng(seed)
    normals, areas = face_normals_and_areas(mesh)
    cumulative = np.cumsum(areas)
    total = cumulative[-1] if len(areas) else 0.0
    if not (np.isfinite(total) and total > 0):
        raise DataError(
            f"Cannot sample a mesh of {len(areas)} faces and area {total}.",
            "Check that the reconstruction is not empty and that its vertices are finite.",
        )
    faces = np.searchsorted(cumulative, rng.random(count) * total, side="right").clip(max=len(areas) - 1)
    u, v = rng.random((2, count))
    folded = u + v > 1
    u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
    a, b, c = np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces[faces]].transpose(1, 0, 2)
    return Samples(a + u[:, None] * (b - a) + v[:, None] * (c - a), faces, normals[faces])


def sample_blue_noise(mesh: Mesh, count: int, seed: int | np.random.Generator = 0, oversampling: int = 5) -> Samples:
    """Draw `count` points that keep their distance from each other (a Poisson-disk-like set).

    `oversampling` times as many uniform points are thinned by weighted sample elimination (Yuksel, Sample
    Elimination for Generating Poisson Disk Sample Sets, 2015). The original removes the most crowded point one
    at a time; here all locally most crowded points among the most crowded tenth go in the same round.

    Raises:
        DataError: as `sample_surface`.
    """
    drawn = sample_surface(mesh, count * oversampling, seed)
    keep = _eliminate(drawn.points, count, float(face_normals_and_areas(mesh)[1].sum()))
    return Samples(drawn.points[keep], drawn.faces[keep], drawn.normals[keep])


def _eliminate(points: np.ndarray, count: int, area: float) -> np.ndarray:
    """Indices of the `count` points that stay; the weights are eq. 3 of the paper, with alpha 8."""
    alive = np.ones(len(points), dtype=bool)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    reach = 2 * np.sqrt(area / (2 * np.sqrt(3) * count))
    first, second = cKDTree(points).query_pairs(reach, output_type="ndarray").T
    weight = (1 - np.linalg.norm(points[first] - points[second], axis=1) / reach) ** 8
    # Equal scores would deadlock neighbours; ranks of the order of drawing break ties.
    tie = np.arange(len(points)) * 1e-15
    while (surplus := int(alive.sum()) - count) > 0:
        both = alive[first] & alive[second]
        first, second, weight = first[both], second[both], weight[both]
        score = np.bincount(first, weight, len(points)) + np.bincount(second, weight, len(points)) + tie
        worst = alive.copy()
        worst[np.where(score[first] < score[second], first, second)] = False
        crowded = np.flatnonzero(worst & (score >= np.quantile(score[alive], 0.9)))
        alive[crowded[np.argsort(-score[crowded])][:surplus]] = False
    return np.flatnonzero(alive)
