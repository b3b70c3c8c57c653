"""Rays against a mesh (Embree): what a ray meets first, and whether points lie inside.

Embree works in float32, so the mesh is centred and scaled to unit size before, and distances are computed afresh
in float64 from the face that was hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from recon.errors import DataError
from recon.io.types import Mesh

# Past a hit, the next search starts this far on, in units of half the mesh's longest side: some float32 steps.
STEP = 4e-6


@dataclass(frozen=True)
class Hits:
    """What N rays met first.

    Attributes:
        distance: (N,) float64 along the normalised direction, in the mesh's unit; inf where nothing was hit.
        face: (N,) int64; -1 where nothing was hit.
        barycentric: (N, 3) float64 weights of the face's three vertices; 0 where nothing was hit.
    """

    distance: np.ndarray
    face: np.ndarray
    barycentric: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """(N,) bool: whether the ray met the mesh."""
        return self.face >= 0


class RayCaster:
    """One mesh, prepared once for any number of rays; a mesh without faces is never hit.

    Raises:
        DataError: if a vertex in use is not finite.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._corners = np.asarray(mesh.vertices, dtype=np.float64)[np.asarray(mesh.faces, dtype=np.int64)]
        if not np.isfinite(self._corners).all():
            raise DataError("Cannot cast rays at a mesh with vertices that are not finite.", "Remove them first.")
        self._empty = len(self._corners) == 0
        if self._empty:
            return
        low, high = self._corners.min(axis=(0, 1)), self._corners.max(axis=(0, 1))
        self._low, self._high = low, high
        edges = self._corners[:, 1:] - self._corners[:, :1]
        self._normals = np.cross(edges[:, 0], edges[:, 1])
        self._centre, self._scale = (low + high) / 2, float((high - low).max()) / 2 or 1.0
        self._scene = EmbreeScene(robust=True)
        TriangleMesh(self._scene, ((self._corners - self._centre) / self._scale).astype(np.float32))

    def first_hit(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """The nearest face in front of each ray.

        Args:
            origins: (N, 3), in the mesh's coordinates.
            directions: (N, 3), of any length but zero.
        """
        origins = np.asarray(origins, dtype=np.float64)
        directions = np.asarray(directions, dtype=np.float64)
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        distance, face = np.full(len(origins), np.inf), np.full(len(origins), -1, dtype=np.int64)
        barycentric = np.zeros((len(origins), 3))
        if not self._empty and len(origins):
            face, _ = self._cast((origins - self._centre) / self._scale, directions)
            rows = np.flatnonzero(face >= 0)
            distance[rows], barycentric[rows] = _intersect(origins[rows], directions[rows], self._corners[face[rows]])
        return Hits(distance, face, barycentric)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: inside, by the parity of the faces met on the way out.

        Three directions vote; where they disagree (a ray through an edge, a hole in the mesh) four more are asked.
        Points on the surface may fall on either side.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        inside = np.zeros(len(points), dtype=bool)
        if self._empty:
            return inside
        rows = np.flatnonzero(((points >= self._low) & (points <= self._high)).all(axis=1))
        local = (points[rows] - self._centre) / self._scale
        votes = np.zeros(len(rows), dtype=np.int64)
        for direction in _DIRECTIONS[:3]:
            votes += self._crossings(local, direction) & 1
        unsure = np.flatnonzero((votes > 0) & (votes < 3))
        for direction in _DIRECTIONS[3:]:
            votes[unsure] += self._crossings(local[unsure], direction) & 1
        needed = np.full(len(rows), 2)
        needed[unsure] = 4
        inside[rows] = votes >= needed
        return inside

    def winding(self, points: np.ndarray) -> np.ndarray:
        """(N,) int64: how often closed, oriented surfaces surround each point; 1 inside one, 2 where two overlap.

        The faces left less those entered on the way out. Three directions are asked; where they disagree, four more,
        and the median holds. Points on the surface may fall on either side.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        found = np.zeros(len(points), dtype=np.int64)
        if self._empty:
            return found
        rows = np.flatnonzero(((points >= self._low) & (points <= self._high)).all(axis=1))
        local = (points[rows] - self._centre) / self._scale
        asked = np.stack([self._crossings(local, direction) for direction in _DIRECTIONS[:3]])
        counts = asked[0]
        unsure = np.flatnonzero((asked != counts).any(axis=0))
        more = np.stack([self._crossings(local[unsure], direction) for direction in _DIRECTIONS[3:]])
        counts[unsure] = np.median(np.concatenate([asked[:, unsure], more]), axis=0).astype(np.int64)
        found[rows] = counts
        return found

    def _crossings(self, local: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """(N,) faces that a ray from each scaled point leaves (through their backs), less those it enters."""
        count = np.zeros(len(local), dtype=np.int64)
        step = np.where(self._normals @ direction > 0, 1, -1)
        active, travelled = np.arange(len(local)), np.zeros(len(local))
        while len(active):
            starts = local[active] + travelled[active, None] * direction
            face, distance = self._cast(starts, np.broadcast_to(direction, starts.shape))
            met = face >= 0
            active = active[met]
            count[active] += step[face[met]]
            travelled[active] += distance[met] + STEP
        return count

    def _cast(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First faces (-1: none) and float32 distances, all in scaled coordinates."""
        found = self._scene.run(
            np.ascontiguousarray(origins, dtype=np.float32),
            np.ascontiguousarray(directions, dtype=np.float32),
            query="INTERSECT",
            output=1,
        )
        return found["primID"].astype(np.int64), found["tfar"].astype(np.float64)


def first_hit(mesh: Mesh, origins: np.ndarray, directions: np.ndarray) -> Hits:
    """What (N, 3) `origins` along (N, 3) `directions` meet first (see `RayCaster` for many calls on one mesh)."""
    return RayCaster(mesh).first_hit(origins, directions)


def contains(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """(N,) bool: which of (N, 3) `points` lie inside `mesh` (see `RayCaster.contains`)."""
    return RayCaster(mesh).contains(points)


def _generic_directions() -> np.ndarray:
    """(7, 3) unit vectors in general position, so that axis-aligned meshes are not met edge on."""
    drawn = np.random.default_rng(20).normal(size=(7, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


_DIRECTIONS = _generic_directions()


def _intersect(origins: np.ndarray, directions: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and barycentric coordinates of rays on the planes of their (N, 3, 3) triangles.

    The coordinates are clipped to the triangle, because Embree, in float32, may count a ray just beside it.
    """
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    ao = origins - corners[:, 0]
    normal = np.cross(ab, ac)
    facing = np.einsum("ij,ij->i", normal, directions)
    facing = np.where(facing == 0, np.finfo(float).tiny, facing)
    distance = -np.einsum("ij,ij->i", normal, ao) / facing
    across = np.cross(directions, ao)
    b = np.einsum("ij,ij->i", ac, across) / facing
    c = -np.einsum("ij,ij->i", ab, across) / facing
    weights = np.clip(np.stack([1 - b - c, b, c], axis=1), 0, 1)
    return np.maximum(distance, 0), weights / weights.sum(axis=1, keepdims=True)
