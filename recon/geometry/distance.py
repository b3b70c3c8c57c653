"""Exact distances from points to a triangle mesh, in float64.

A tree of axis-aligned boxes over the faces is walked one level at a time for many points at once, and a box is
entered only if it is nearer than a face already known. So the answer is exact, whatever the shape of the faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from recon.errors import DataError
from recon.io.types import Mesh

BRANCHES = 4
# Small enough for the boxes and points of one pass to stay in the cache.
CHUNK = 4096
MAX_PAIRS = 65_536


@dataclass(frozen=True)
class Nearest:
    """The nearest places of a mesh to N points.

    Attributes:
        distance: (N,) float64, unsigned, in the mesh's unit.
        face: (N,) int64, a nearest face.
        point: (N, 3) float64, the nearest point on it.
    """

    distance: np.ndarray
    face: np.ndarray
    point: np.ndarray


class MeshDistance:
    """Exact point-to-surface distance to one mesh, prepared once for any number of queries.

    Args:
        mesh: at least one face, finite vertices; it need not be closed, clean or connected.

    Raises:
        DataError: if there is no face or a vertex in use is not finite.
    """

    def __init__(self, mesh: Mesh) -> None:
        corners = np.asarray(mesh.vertices, dtype=np.float64)[np.asarray(mesh.faces, dtype=np.int64)]
        if len(corners) == 0 or not np.isfinite(corners).all():
            raise DataError(
                f"Cannot measure distances to a mesh of {len(corners)} faces"
                + ("." if len(corners) == 0 else " with vertices that are not finite."),
                "Check that the reconstruction is not empty and that its vertices are finite.",
            )
        # Far from the origin, coordinates relative to the mesh keep all their digits.
        self._origin = corners.reshape(-1, 3).mean(axis=0)
        corners = corners - self._origin
        self._faces = _Faces(corners)
        pieces, owner = _split_long(corners)
        order = morton_order(pieces.mean(axis=1))
        self._owner = owner[order]
        self._levels = _boxes(pieces[order])
        self._centres = cKDTree(pieces[order].mean(axis=1), balanced_tree=False)

    def query(self, points: np.ndarray) -> Nearest:
        """The nearest surface points to `points` (N, 3), which must be finite; memory does not grow with N.

        Raises:
            DataError: if a point is not finite.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise DataError("Cannot measure distances from points that are not finite.", "Remove them first.")
        points = points - self._origin
        result = Nearest(np.zeros(len(points)), np.zeros(len(points), dtype=np.int64), np.zeros((len(points), 3)))
        # Neighbouring queries walk the same boxes, which then lie in the cache.
        order = morton_order(points)
        for start in range(0, len(points), CHUNK):
            self._search(points, order[start : start + CHUNK], result)
        return Nearest(result.distance, result.face, result.point + self._origin)

    def _search(self, points: np.ndarray, rows: np.ndarray, result: Nearest) -> None:
        """Fill `result` at `rows`."""
        queries = points[rows]
        face = self._owner[self._centres.query(queries)[1]]
        near = self._faces.nearest(queries, face)
        result.face[rows], result.point[rows] = face, near
        result.distance[rows] = np.linalg.norm(queries - near, axis=1)
        self._descend(points, rows, np.zeros(len(rows), dtype=np.int64), 0, result)

    def _descend(self, points: np.ndarray, query: np.ndarray, node: np.ndarray, depth: int, result: Nearest) -> None:
        """Walk down from pairs of a query (a row of `points`) and a node of level `depth`."""
        for level in range(depth, len(self._levels)):
            if len(query) * BRANCHES > MAX_PAIRS and query[0] != query[-1]:
                cut = _between_queries(query)
                self._descend(points, query[:cut], node[:cut], level, result)
                self._descend(points, query[cut:], node[cut:], level, result)
                return
            # (N, 3, BRANCHES): four sibling boxes lie side by side in memory and are fetched at once.
            low, high = self._levels[level]
            position = points[query][:, :, None]
            gap = low[node]
            gap -= position
            np.maximum(gap, position - high[node], out=gap)
            np.maximum(gap, 0, out=gap)
            square = np.einsum("ijk,ijk->ik", gap, gap)
            # A box that touches the known distance cannot improve on it.
            pair, child = np.nonzero(square < (result.distance[query] ** 2)[:, None])
            query, node = query[pair], node[pair] * BRANCHES + child
        self._settle(points, query, self._owner[node], result)

    def _settle(self, points: np.ndarray, query: np.ndarray, face: np.ndarray, result: Nearest) -> None:
        """Measure the remaining pairs of a query and a face, and keep each query's best."""
        for start in range(0, len(query), MAX_PAIRS):
            part = slice(start, start + MAX_PAIRS)
            rows, faces = query[part], face[part]
            near = self._faces.nearest(points[rows], faces)
            distance = np.linalg.norm(points[rows] - near, axis=1)
            # Assignment keeps the last of repeated rows, so the nearest must come last.
            better = np.flatnonzero(distance < result.distance[rows])
            better = better[np.argsort(-distance[better], kind="stable")]
            kept = rows[better]
            result.distance[kept], result.face[kept], result.point[kept] = distance[better], faces[better], near[better]


class _Faces:
    """Triangles with what the nearest-point computation needs of each."""

    def __init__(self, corners: np.ndarray) -> None:
        self.a, self.ab, self.ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normal = np.cross(self.ab, self.ac)
        square = np.einsum("ij,ij->i", normal, normal)[:, None]
        normal = np.divide(normal, square, out=np.full_like(normal, np.nan), where=square > 0)
        # The dual basis of (ab, ac): its products with p - a are the barycentric coordinates of b and c.
        self.dual_b, self.dual_c = np.cross(self.ac, normal), np.cross(normal, self.ab)

    def nearest(self, points: np.ndarray, face: np.ndarray) -> np.ndarray:
        """(N, 3) nearest point of triangle ``face[i]`` to ``points[i]``; faces without area count as segments."""
        ab, ac = self.ab[face], self.ac[face]
        ap = points - self.a[face]
        v, w = _dot(self.dual_b[face], ap), _dot(self.dual_c[face], ap)
        t_ab, t_ac, t_bc = _along(ap, ab), _along(ap, ac), _along(ap - ab, ac - ab)
        zero = np.zeros_like(t_ab)
        # NaN coordinates of a face without area fail this test.
        inside = (v >= 0) & (w >= 0) & (v + w <= 1)
        best = np.full(len(points), np.inf)
        best_v, best_w = zero.copy(), zero.copy()
        for allowed, cv, cw in ((True, t_ab, zero), (True, zero, t_ac), (True, 1 - t_bc, t_bc), (inside, v, w)):
            offset = ap - cv[:, None] * ab - cw[:, None] * ac
            square = _dot(offset, offset)
            better = (square < best) & allowed
            best[better], best_v[better], best_w[better] = square[better], cv[better], cw[better]
        return self.a[face] + best_v[:, None] * ab + best_w[:, None] * ac


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b)


def _along(ap: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Where on the segments from a to b (0 to 1) the points p are nearest; 0 on segments without length."""
    length = _dot(ab, ab)
    return np.clip(_dot(ap, ab) / np.where(length > 0, length, 1), 0, 1)


def _split_long(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut long triangles at their longest edge until none is far longer than usual, for boxes that fit.

    Returns (P, 3, 3) pieces and (P,) the face each came from. At most about twice as many pieces as faces.
    """
    owner = np.arange(len(corners))
    lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
    limit = max(4 * float(np.median(lengths)), float(np.ptp(corners, axis=(0, 1)).max()) / 64)
    budget = 2 * len(corners) + 4096
    while True:
        edges = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        long = np.flatnonzero(edges.max(axis=1) > limit)
        if len(long) == 0 or len(corners) + len(long) > budget:
            return corners, owner
        start = edges[long].argmax(axis=1)
        a, b, c = (corners[long, (start + i) % 3] for i in range(3))
        middle = (a + b) / 2
        corners = np.concatenate([np.delete(corners, long, axis=0), np.stack([a, middle, c], 1)])
        corners = np.concatenate([corners, np.stack([middle, b, c], 1)])
        owner = np.concatenate([np.delete(owner, long), owner[long], owner[long]])


def morton_order(points: np.ndarray) -> np.ndarray:
    """The order of (N, 3) points along a space-filling Z curve."""
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    low = points.min(axis=0)
    extent = float((points - low).max()) or 1.0
    cell = ((points - low) * ((2**20 - 1) / extent)).astype(np.uint64)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
    ):
        cell = (cell | (cell << np.uint64(shift))) & np.uint64(mask)
    cell = (cell | (cell << np.uint64(2))) & np.uint64(0x1249249249249249)
    return np.argsort(cell[:, 0] | (cell[:, 1] << np.uint64(1)) | (cell[:, 2] << np.uint64(2)))


def _boxes(pieces: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lower and upper corners of the tree's boxes, from the root's children down to single pieces."""
    low, high = pieces.min(axis=1), pieces.max(axis=1)
    levels = []
    while True:
        missing = -len(low) % BRANCHES
        # Boxes that are nowhere: no point is nearer to them than infinity.
        low = np.concatenate([low, np.full((missing, 3), np.inf)])
        high = np.concatenate([high, np.full((missing, 3), -np.inf)])
        levels.append((_siblings(low), _siblings(high)))
        if len(low) == BRANCHES:
            return levels[::-1]
        low, high = low.reshape(-1, BRANCHES, 3).min(axis=1), high.reshape(-1, BRANCHES, 3).max(axis=1)


def _siblings(corners: np.ndarray) -> np.ndarray:
    """(N, 3) to (N / BRANCHES, 3, BRANCHES)."""
    return np.ascontiguousarray(corners.reshape(-1, BRANCHES, 3).transpose(0, 2, 1))


def _between_queries(query: np.ndarray) -> int:
    """A place near the middle of the grouped pairs where one query's pairs end; not at either end."""
    middle = query[len(query) // 2]
    first = int(np.argmax(query == middle))
    last = len(query) - int(np.argmax(query[::-1] == middle))
    return first if first > 0 else last
