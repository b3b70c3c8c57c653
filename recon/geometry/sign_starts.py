"""First guesses of the signs of normals: along a spanning tree, or by flooding the outside of a thickened scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from recon.geometry.neighbours import Neighbours

FLOOR = 1e-4  # weight of an edge between parallel normals; scipy takes an edge of weight 0 for none
FEWEST = 8  # cells that count as an inside


def tree_signs(neighbours: Neighbours, normals: np.ndarray, k: int) -> np.ndarray:
    """Signs carried along a minimum spanning tree whose edges weigh 1 - |n_i . n_j| (Hoppe et al. 1992, section 3.3).

    Args:
        neighbours: of the cloud.
        normals: (N, 3) unit axes.
        k: neighbours a point in the graph, itself among them.

    Returns:
        (N,) of +1 and -1; the flux of each connected part of the graph points away from the middle of the cloud.
    """
    parents, parts = _spanning_forest(neighbours, normals, k)
    signs = np.where((normals * normals[parents]).sum(axis=1) < 0, -1.0, 1.0)
    above = parents[parents]
    while not np.array_equal(above, parents):  # pointer doubling: each round reaches twice as far up the tree
        signs = signs * signs[parents]
        parents, above = above, above[above]
    signs = signs * signs[parents]
    centre = (neighbours.points.min(axis=0) + neighbours.points.max(axis=0)) / 2
    flux = np.bincount(parts, signs * (normals * (neighbours.points - centre)).sum(axis=1))
    return signs * np.where(flux < 0, -1.0, 1.0)[parts]


def _spanning_forest(neighbours: Neighbours, normals: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Each point's parent in the minimum spanning forest (a root is its own) and its part of the graph, both (N,)."""
    _, index = neighbours.query(k)
    count, k = index.shape
    rows, columns = np.repeat(np.arange(count), k - 1), index[:, 1:].ravel()
    weights = 1.0 - np.abs((normals[rows] * normals[columns]).sum(axis=1)) + FLOOR
    graph = csr_matrix((weights, (rows, columns)), shape=(count, count))
    forest = minimum_spanning_tree(graph.maximum(graph.T)).tocoo()
    _, parts = connected_components(forest, directed=False)
    roots = np.unique(parts, return_index=True)[1]
    # One more node above all roots, so that a single walk covers every part.
    ends = np.concatenate([forest.row, np.full(len(roots), count)]), np.concatenate([forest.col, roots])
    tree = coo_matrix((np.ones(len(ends[0])), ends), shape=(count + 1, count + 1)).tocsr()
    _, parents = breadth_first_order(tree, count, directed=False)
    parents = parents[:count].astype(np.int64)
    parents[roots] = roots
    return parents, parts


def flood_signs(
    points: np.ndarray, normals: np.ndarray, half: float, cells: int, radii: Sequence[float]
) -> Iterator[np.ndarray]:
    """Signs away from the inside that is left when the scan, thickened by some radius, is flooded from outside.

    Args:
        points: (N, 3) local, within the cube of side ``2 * half`` about the origin.
        normals: (N, 3) unit axes.
        half: half the side of the flooded box.
        cells: cells along a side of it.
        radii: of the thickening, in cells; those that leave no inside are passed over.

    Yields:
        (N,) of +1 and -1.
    """
    scaled = (points + half) * (cells / (2 * half)) - 0.5
    occupied = np.zeros((cells,) * 3, dtype=bool)
    occupied[tuple(np.clip(np.round(scaled).astype(int), 0, cells - 1).T)] = True
    distance = ndimage.distance_transform_edt(~occupied)
    for radius in radii:
        labels, _ = ndimage.label(distance > radius)
        outside = labels == labels[0, 0, 0]
        inside = (labels > 0) & ~outside
        if inside.sum() >= FEWEST:
            slope = _outward(inside, outside, scaled, reach=2 * radius + 3)
            yield np.where((slope * normals).sum(axis=1) < 0, -1.0, 1.0)


def _outward(inside: np.ndarray, outside: np.ndarray, scaled: np.ndarray, reach: float) -> np.ndarray:
    """(N, 3) directions from the inside to the outside across the thickened scan, at positions in cells."""
    to_inside = np.minimum(ndimage.distance_transform_edt(~inside), reach)
    to_outside = np.minimum(ndimage.distance_transform_edt(~outside), reach)
    smooth = ndimage.gaussian_filter((to_inside - to_outside).astype(np.float32), 1.0)
    slopes = [ndimage.map_coordinates(np.gradient(smooth, axis=a), scaled.T, order=1) for a in range(3)]
    return np.stack(slopes, axis=1)
