"""The mesh extraction of ALTO's program (after POCO's): growing from the input points along the surface.

The grid spans the points and one cell beyond. From the nodes at the points on, all nodes in blocks of 4^3 about the
frontier are evaluated, and nodes on the other side of the surface are the next frontier. So it costs what the surface
costs, but finds only surface that hangs together with what some point lies near, and cuts what leaves the box. Meant
for comparison with the published numbers. Unlike the program this evaluates each node once and holds no volume.
"""

from __future__ import annotations

import numpy as np

from recon.errors import ConfigError
from recon.geometry.blocks import NODES, SIDE, Blocks
from recon.geometry.cleanup import Triangles, keep_faces
from recon.geometry.evaluation import Evaluator
from recon.geometry.extraction import Grid
from recon.geometry.marching import Polish
from recon.geometry.vertices import polisher
from recon.geometry.voxels import distinct, keys_of, missing, places_of

REACH = range(-2, 2)
"""A node's block: two nodes before it to one after it, along each axis."""

ROUNDS = 10
"""Bisections of the program, and the width of the bracket that they leave."""
WIDTH = 2.0**-ROUNDS


def region_grid(support: np.ndarray, resolution: int) -> Grid:
    """The program's grid: a cube of `resolution` nodes a side from the smallest to the largest coordinate of all axes
    together, and one cell more on each side.

    Raises:
        ConfigError: if there are no points to grow from.
    """
    if not len(support):
        raise ConfigError("mesh.extraction=region: this surface does not know its input.", "Use mesh.extraction=mise.")
    low, high = float(support.min()), float(support.max())
    step = (high - low) / (resolution - 1)
    return Grid((low - step,) * 3, step, (resolution + 1,) * 3)


def region_blocks(evaluator: Evaluator) -> Blocks:
    """The blocks that hold the surface found; nodes that were not evaluated are NaN."""
    nodes, values = grow(evaluator)
    border = ((nodes == 0) | (nodes == np.array(evaluator.grid.cells))).any(axis=1)
    evaluator.capped = int((values[border] < 0).sum())
    values[border] = np.abs(values).max(initial=1)
    x, y, z = (-(-n // SIDE) for n in evaluator.grid.cells)
    there = np.array([x, y, z], dtype=np.int64)
    # A block's last nodes are its neighbour's first, so that those at inside nodes hold every mixed cube but these'.
    inner = nodes[values < 0]
    coords = distinct(np.concatenate([keys_of(np.clip(inner - d, 0, None) // SIDE, there) for d in _CORNERS]))
    shape = (len(coords), NODES, NODES, NODES)
    blocks = Blocks(
        (x, y, z), places_of(coords, there), np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=bool)
    )
    if len(coords):
        blocks.write(nodes, values)
    return blocks


def grow(evaluator: Evaluator) -> tuple[np.ndarray, np.ndarray]:
    """All nodes that growth reaches, (N, 3), and their values, (N,) float32, negative inside."""
    shape = np.array(evaluator.grid.cells, dtype=np.int64) + 1
    low, step = np.asarray(evaluator.grid.low), evaluator.grid.spacing
    assert evaluator.seeds is not None
    seeds = np.floor((evaluator.seeds - low) / step + 1e-6).astype(np.int64)
    frontier = distinct(keys_of(np.clip(seeds, 0, shape - 1), shape))
    seen, keys, values = frontier, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    while len(frontier):
        fresh = missing(blocks_about(frontier, shape), keys)
        found = evaluator.nodes(places_of(fresh, shape))
        at = np.searchsorted(keys, fresh)
        keys, values = np.insert(keys, at, fresh), np.insert(values, at, found)
        frontier = _across(frontier, seen, keys, values, shape)
        seen = distinct(np.concatenate([seen, frontier]))
    return places_of(keys, shape), values


def blocks_about(keys: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The sorted keys of all nodes in the blocks about some nodes, one axis after another."""
    strides = (shape[1] * shape[2], shape[2], np.int64(1))
    for axis in (2, 1, 0):
        place = keys // strides[axis] % shape[axis]
        reached = [keys[(place + step >= 0) & (place + step < shape[axis])] + step * strides[axis] for step in REACH]
        keys = distinct(np.concatenate(reached))
    return keys


def _across(
    frontier: np.ndarray, seen: np.ndarray, keys: np.ndarray, values: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Nodes not seen yet in the block of a frontier node of the other sign."""
    inside = values[np.searchsorted(keys, frontier)] < 0
    found = []
    for side in (False, True):
        near = missing(blocks_about(frontier[inside == side], shape), seen)
        found.append(near[(values[np.searchsorted(keys, near)] < 0) != side])
    return distinct(np.concatenate(found))


def tearing(evaluator: Evaluator, rounds: int) -> Polish:
    """Vertices onto the level set as ten bisections do, and NaN where one end of the edge was not evaluated.

    The bracketed secant of `polisher` comes as near in three to five rounds; vertices that are there rest.
    """
    refine = polisher(evaluator, rounds or ROUNDS, WIDTH)

    def polish(
        place: np.ndarray, axis: np.ndarray, value: np.ndarray, beyond: np.ndarray, fraction: np.ndarray
    ) -> np.ndarray:
        known = ~(np.isnan(value) | np.isnan(beyond))
        better = np.full(len(place), np.nan)
        better[known] = refine(place[known], axis[known], value[known], beyond[known], fraction[known])
        return better

    return polish


def without_torn(vertices: np.ndarray, faces: np.ndarray) -> Triangles:
    """A mesh less the faces that reach into what was not evaluated."""
    return keep_faces(vertices, faces, np.isfinite(vertices[faces]).all(axis=(1, 2)))


_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
