"""Voxels to the mesh of their outer faces: watertight, with shared vertices, whatever touches whatever."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.geometry.frames import Frame
from recon.io.types import Mesh

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # counter-clockwise, seen from the tip of the third axis


def boundary_mesh(grid: np.ndarray, frame: Frame | None = None) -> Mesh:
    """The squares between filled and empty voxels, two triangles each, turned outward.

    Voxels that touch along an edge or at a corner only stay apart there, so that every edge has two faces. Where
    that leaves two edges between the same two vertices, each gets a vertex of its own in its middle.

    Args:
        grid: (D, H, W) bool, axes x, y, z; beyond it all is empty.
        frame: takes the cube [-0.5, 0.5]^3 that the grid fills to the world; None means that it stays.

    Returns:
        A closed mesh of consistent winding; the empty one if no voxel is filled.
    """
    filled = np.asarray(grid, dtype=bool)
    voxels, corners = _squares(filled)
    if not len(voxels):
        return Mesh.empty()
    owners = np.ravel_multi_index(tuple(voxels.T), filled.shape)
    pairs = _pairs(owners, corners, np.array(filled.shape) + 1)
    labels = _welded(pairs, len(corners))
    places = np.empty((labels.max() + 1, 3))
    places[labels.ravel()] = corners.reshape(-1, 3)
    vertices, faces = _triangles(labels, places, pairs)
    local = vertices / filled.shape - 0.5
    return Mesh((frame or Frame()).to_world(local), faces)


def _squares(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, 3) voxels and (m, 4, 3) corners of their outer squares, counter-clockwise seen from outside."""
    padded = np.pad(filled, 1)
    voxels, corners = [], []
    for axis in range(3):
        across = [(axis + 1) % 3, (axis + 2) % 3]
        for step in (1, -1):
            outer = filled & ~np.roll(padded, -step, axis)[1:-1, 1:-1, 1:-1]
            found = np.argwhere(outer)
            offsets = np.zeros((4, 3), dtype=np.int64)
            offsets[:, across] = SQUARE if step == 1 else SQUARE[::-1]
            offsets[:, axis] = step == 1
            voxels.append(found)
            corners.append(found[:, None] + offsets)
    return np.concatenate(voxels), np.concatenate(corners)


def _pairs(owners: np.ndarray, corners: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(2m, 2) which sides of squares meet: numbers 4 * square + side, a side running from its corner to the next.

    Where four squares meet in an edge, those of the same voxel go together.
    """
    nodes = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(shape))
    following = np.roll(nodes, -1, axis=1)
    edges = (np.minimum(nodes, following) * shape.prod() + np.maximum(nodes, following)).ravel()
    _, number, counts = np.unique(edges, return_inverse=True, return_counts=True)
    owner = np.where(counts[number] == 4, np.repeat(owners, 4), 0)
    return np.lexsort((owner, number)).reshape(-1, 2)


def _welded(pairs: np.ndarray, squares: int) -> np.ndarray:
    """(squares, 4) numbers of vertices, the same for corners that sides which meet have in common."""
    ends = pairs - pairs % 4 + (pairs + 1) % 4
    # The two squares run along their common side in opposite ways.
    a = np.concatenate([pairs[:, 0], ends[:, 0]])
    b = np.concatenate([ends[:, 1], pairs[:, 1]])
    graph = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(4 * squares, 4 * squares))
    return np.asarray(connected_components(graph, directed=False)[1]).reshape(squares, 4)


def _triangles(labels: np.ndarray, places: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of squares; those at edges that would have four faces are fans about their middles."""
    ends = np.sort(np.stack([labels, np.roll(labels, -1, axis=1)], axis=-1).reshape(-1, 2)[pairs[:, 0]], axis=1)
    _, number, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    doubled = np.flatnonzero(counts[number.ravel()] > 1)
    middles = np.full(labels.shape, -1)
    middles.reshape(-1)[pairs[doubled]] = len(places) + np.arange(len(doubled))[:, None]
    fans = np.flatnonzero((middles >= 0).any(axis=1))
    plain = np.delete(labels, fans, axis=0)
    centres = len(places) + len(doubled) + np.arange(len(fans))
    vertices = np.concatenate([places, places[ends[doubled]].mean(axis=1), places[labels[fans]].mean(axis=1)])
    first, middle, last = labels[fans], middles[fans], np.roll(labels[fans], -1, axis=1)
    centre = np.broadcast_to(centres[:, None], first.shape)
    halves = np.stack([centre, first, np.where(middle >= 0, middle, last)], axis=-1).reshape(-1, 3)
    others = np.stack([centre, middle, last], axis=-1)[middle >= 0]
    return vertices, np.concatenate([plain[:, [0, 1, 2]], plain[:, [0, 2, 3]], halves, others])
