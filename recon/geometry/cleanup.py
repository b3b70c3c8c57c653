"""What is done to a mesh after extraction: components dropped, far faces trimmed, faces merged."""

from __future__ import annotations

import fast_simplification
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Triangles = tuple[np.ndarray, np.ndarray]
"""(V, 3) float64 vertices and (F, 3) int64 faces."""

LIBRARY_SIZE = 100.0
"""Longest side that fast_simplification is given, for its thresholds are absolute: at 1 errors are twice as large, and
from 1e4 on it stops long before it reaches small counts."""

SUPPORTED = 0.2
"""Share of a component's vertices that must lie near the input for it to count as seen."""


def components(faces: np.ndarray, vertices: int) -> tuple[int, np.ndarray]:
    """The number of connected components, and each vertex's component.

    Each face is a directed cycle, so that the strong components of its edges are the connected ones; finding them
    needs neither sorting nor a transposed copy.
    """
    if not len(faces):
        return 0, np.zeros(vertices, dtype=np.int64)
    rows, columns = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    graph = csr_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(vertices, vertices))
    count, labels = connected_components(graph, directed=True, connection="strong")
    return int(count), labels


def areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) areas of triangles."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))


def keep_faces(vertices: np.ndarray, faces: np.ndarray, kept: np.ndarray) -> Triangles:
    """Only the faces where `kept` (F,) is True, and the vertices these use."""
    faces = faces[kept]
    used = np.zeros(len(vertices), dtype=bool)
    used[faces.reshape(-1)] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


def by_area(vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """(F,) bool: faces of components with at least this share of the total area; the largest always stays."""
    own = labels[faces[:, 0]]
    area = np.bincount(own, weights=areas(vertices, faces))
    kept = area >= share * area.sum()
    kept[area.argmax()] = True
    return np.asarray(kept[own])


def largest(vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(F,) bool: the faces of the component of largest area."""
    own = labels[faces[:, 0]]
    area = np.bincount(own, weights=areas(vertices, faces))
    return np.asarray(own == area.argmax())


def supported(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, support: np.ndarray, distance: float
) -> np.ndarray:
    """(F,) bool: faces of components of which at least a fifth of the vertices lie within `distance` of the input."""
    near = np.isfinite(cKDTree(support).query(vertices, distance_upper_bound=distance)[0])
    total = np.bincount(labels)
    share = np.bincount(labels, weights=near) / np.maximum(total, 1)
    return np.asarray((share >= SUPPORTED)[labels[faces[:, 0]]])


def within(vertices: np.ndarray, faces: np.ndarray, support: np.ndarray, distance: float) -> np.ndarray:
    """(F,) bool: faces all of whose vertices lie within `distance` of the input."""
    near = np.isfinite(cKDTree(support).query(vertices, distance_upper_bound=distance)[0])
    return np.asarray(near[faces].all(axis=1))


def mean_spacing(points: np.ndarray) -> float:
    """Mean distance of points to their nearest neighbour."""
    return float(cKDTree(points).query(points, k=2)[0][:, 1].mean())


def simplify(vertices: np.ndarray, faces: np.ndarray, count: int) -> Triangles:
    """About `count` faces, by quadric edge collapse (Garland and Heckbert 1997), alike at every size of the mesh."""
    if count >= len(faces):
        return vertices, faces
    centre = vertices.mean(axis=0)
    scale = float(np.ptp(vertices, axis=0).max()) / LIBRARY_SIZE or 1.0
    fewer, triangles = fast_simplification.simplify((vertices - centre) / scale, faces, target_count=count)
    return fewer.astype(np.float64) * scale + centre, triangles.astype(np.int64)
