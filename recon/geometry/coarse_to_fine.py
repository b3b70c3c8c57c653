"""Finding the blocks that hold a surface: from a coarse grid down, by how fast the field can change.

Where the nearest nodes are farther from the level than the field can change on the way, there is no surface, and a
node in between need not be evaluated: its sign is known. The bound on the change is the largest slope on the coarse
grid times 1.5. If it errs, the last step mends it: every node next to a sign change is evaluated, and every block a
sign change leads into is added, so no surface that touches a found one is cut.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from recon.geometry.block_bounds import HALF, bounds, corners, ends, suspicious
from recon.geometry.blocks import BATCH, NODES, SIDE, Blocks
from recon.geometry.evaluation import Evaluator
from recon.geometry.extraction import Grid

SAFETY = 1.5
FIRST = 4
"""Stride of the first blocks a field is asked about: larger ones would rarely be ruled out."""


def coarse_to_fine(evaluator: Evaluator) -> Blocks:
    """All blocks of the grid that hold surface, with every node next to a sign change evaluated."""
    blocks = _bounded(evaluator) if evaluator.is_bounded else _refined(evaluator)
    if evaluator.is_lattice:
        blocks.agree()
    _complete(blocks, evaluator)
    return blocks


def all_blocks(evaluator: Evaluator) -> Blocks:
    """Every block of the grid evaluated whole, and those with both signs kept."""
    blocks = mixed_blocks(evaluator, _places(_shape(evaluator.grid, 1)))
    blocks.agree()
    return blocks


def _shape(grid: Grid, stride: int) -> tuple[int, int, int]:
    x, y, z = (-(-n // (SIDE * stride)) for n in grid.cells)
    return x, y, z


def _places(shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)


def _octants(coords: np.ndarray) -> np.ndarray:
    """The places of the eight halves-in-each-direction of every block."""
    corners = np.array(list(product((0, 1), repeat=3)))
    return (2 * coords[:, None] + corners).reshape(-1, 3)


def _bounded(evaluator: Evaluator) -> Blocks:
    """Divide blocks as long as the field itself says that they may hold surface."""
    grid = evaluator.grid
    stride = FIRST
    coords = _places(_shape(grid, stride))
    while True:
        keep = evaluator.may_hold(coords * (SIDE * stride), SIDE * stride)
        coords = coords[keep]
        if stride == 1:
            return mixed_blocks(evaluator, coords)
        stride //= 2
        coords = _octants(coords)
        coords = coords[(coords < _shape(grid, stride)).all(axis=1)]


def mixed_blocks(evaluator: Evaluator, coords: np.ndarray) -> Blocks:
    """Evaluate blocks of the finest grid whole and keep those with both signs."""
    kept, values = [], []
    for start in range(0, len(coords), BATCH):
        part = coords[start : start + BATCH]
        value = whole(evaluator, part)
        inside = (value < 0).reshape(len(part), -1)
        mixed = inside.any(axis=1) & ~inside.all(axis=1)
        kept.append(part[mixed])
        values.append(value[mixed])
    shape = (0, NODES, NODES, NODES)
    found = np.concatenate(values) if values else np.zeros(shape, dtype=np.float32)
    place = np.concatenate(kept) if kept else np.zeros((0, 3), dtype=np.int64)
    return Blocks(_shape(evaluator.grid, 1), place, found, np.ones(found.shape, dtype=bool))


def whole(evaluator: Evaluator, coords: np.ndarray, stride: int = 1) -> np.ndarray:
    """All nodes of some blocks, (n, 9, 9, 9), in the way that suits the field."""
    if evaluator.is_lattice:
        return evaluator.cubes(coords * SIDE, NODES, stride)
    nodes = (coords[:, None] * SIDE + _places((NODES, NODES, NODES))) * stride
    return evaluator.nodes(nodes.reshape(-1, 3)).reshape(-1, NODES, NODES, NODES)


def _refined(evaluator: Evaluator) -> Blocks:
    """Halve the cells from the coarse grid down, evaluating only nodes whose sign the bound leaves open."""
    grid = evaluator.grid
    stride = coarse_stride(grid)
    coarse = _coarse(evaluator, stride)
    slope = SAFETY * _steepest(coarse, stride * grid.spacing)
    stride //= 2
    coords = _places(_shape(grid, stride))
    values = np.stack([coarse[tuple(slice(HALF * c, HALF * c + HALF + 1) for c in place)] for place in coords])
    keep = suspicious(values, slope * 2 * stride * grid.spacing).any(axis=(1, 2, 3))
    coords, values = coords[keep], values[keep]
    known = np.ones(values.shape, dtype=bool)
    while True:
        blocks = _expanded(evaluator, coords, values, known, slope * 2 * stride * grid.spacing, stride)
        if stride == 1:
            return blocks
        _sharpen(blocks, slope * stride * grid.spacing, evaluator, stride)
        coords, values, known = _halved(blocks, slope * stride * grid.spacing)
        stride //= 2


def coarse_stride(grid: Grid) -> int:
    """Cells of the grid in one of the coarse grid, which has 32 to 64 along the longest side (64 to 128 from 512)."""
    longest = max(grid.cells)
    return 1 << max(1, (longest // (64 if longest >= 512 else 32)).bit_length() - 1)


def _coarse(evaluator: Evaluator, stride: int) -> np.ndarray:
    """The coarse grid, in whole blocks of the next level; nodes beyond the grid repeat its border."""
    grid = evaluator.grid
    axes = [np.minimum(np.arange(-(-n // stride) + 1) * stride, n) for n in grid.cells]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = evaluator.nodes(nodes).reshape([len(a) for a in axes])
    shape = _shape(grid, stride // 2)
    return np.pad(values, [(0, HALF * b + 1 - len(a)) for a, b in zip(axes, shape, strict=True)], mode="edge")


def _steepest(values: np.ndarray, spacing: float) -> float:
    """The largest slope between neighbouring nodes, all three directions taken together."""
    x, y, z = (np.diff(values.astype(np.float64), axis=d) for d in range(3))
    slope = np.sqrt(x[:, :-1, :-1] ** 2 + y[:-1, :, :-1] ** 2 + z[:-1, :-1, :] ** 2) / spacing
    usable = slope[slope < 1e20]
    return float(usable.max()) if usable.size else 0.0


def _expanded(
    evaluator: Evaluator, coords: np.ndarray, coarse: np.ndarray, known: np.ndarray, reach: float, stride: int
) -> Blocks:
    """Blocks of half the cell size: coarse nodes taken over, nodes in between bounded or evaluated."""
    shape = (len(coords), NODES, NODES, NODES)
    blocks = Blocks(
        _shape(evaluator.grid, stride), coords, np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    )
    if evaluator.is_lattice:
        for batch in blocks.batches():
            blocks.values[batch] = whole(evaluator, coords[batch], stride)
        blocks.known[:] = True
        return blocks
    for batch in blocks.batches():
        part = slice(batch[0], batch[-1] + 1)
        blocks.values[part] = bounds(coarse[part], reach)
        blocks.known[part, ::2, ::2, ::2] = known[part]
    for batch in blocks.batches():
        part = slice(batch[0], batch[-1] + 1)
        _evaluate(blocks, batch, (blocks.values[part] == 0) & ~blocks.known[part], evaluator, stride)
    return blocks


def _evaluate(
    blocks: Blocks, batch: np.ndarray, wanted: np.ndarray, evaluator: Evaluator, stride: int = 1
) -> np.ndarray:
    """Evaluate the wanted nodes of a batch, each once, for all blocks that share them; the slots touched."""
    block, *local = np.nonzero(wanted)
    nodes = blocks.coords[batch[block]].astype(np.int64) * SIDE + np.stack(local, axis=1)
    if not len(nodes):
        return np.zeros(0, dtype=np.int64)
    _, y, z = (SIDE * n + 1 for n in blocks.shape)
    key = np.sort((nodes[:, 0] * y + nodes[:, 1]) * z + nodes[:, 2])
    key = key[np.diff(key, prepend=-1) > 0]
    nodes = np.stack([key // (y * z), key // z % y, key % z], axis=1)
    return blocks.write(nodes, evaluator.nodes(nodes * stride))


def _sharpen(blocks: Blocks, reach: float, evaluator: Evaluator, stride: int) -> None:
    """Evaluate the corners of suspicious cells that are only bounded: it clears most of them, and saves their parts."""
    for batch in blocks.batches():
        known = blocks.known[batch]
        _evaluate(blocks, batch, corners(suspicious(blocks.values[batch], reach)) & ~known, evaluator, stride)


def _halved(blocks: Blocks, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The suspicious octants of all blocks: places, values and what is known of them, (n, 5, 5, 5)."""
    coords, values, known = [], [], []
    for batch in blocks.batches():
        cells = suspicious(blocks.values[batch], reach).reshape(-1, 2, HALF, 2, HALF, 2, HALF)
        open_ = np.asarray(cells.any(axis=(2, 4, 6)))
        for corner in product((0, 1), repeat=3):
            keep = batch[open_[:, corner[0], corner[1], corner[2]]]
            part: Any = (keep, *(slice(HALF * c, HALF * c + HALF + 1) for c in corner))
            coords.append(2 * blocks.coords[keep].astype(np.int64) + corner)
            values.append(blocks.values[part])
            known.append(blocks.known[part])
    if not coords:
        return np.zeros((0, 3), dtype=np.int64), np.zeros((0, 5, 5, 5), dtype=np.float32), np.zeros((0, 5, 5, 5), bool)
    return np.concatenate(coords), np.concatenate(values), np.concatenate(known)


def _complete(blocks: Blocks, evaluator: Evaluator) -> None:
    """Evaluate nodes next to sign changes and follow sign changes into missing blocks, until nothing is left."""
    recent = np.arange(len(blocks))
    while len(recent):
        touched = [np.zeros(0, dtype=np.int64)]
        for batch in blocks.batches(recent):
            open_ = ends(blocks.values[batch]) & ~blocks.known[batch]
            touched.append(_evaluate(blocks, batch, open_, evaluator))
        places = [blocks.leaving(batch) for batch in blocks.batches(recent)]
        missing = np.unique(np.concatenate(places), axis=0)
        if len(missing):
            slots = blocks.extend(missing, whole(evaluator, missing))
            touched.append(_spread(blocks, slots))
        recent = np.unique(np.concatenate(touched))


def _spread(blocks: Blocks, slots: np.ndarray) -> np.ndarray:
    """Make the blocks around new ones agree with them; the slots touched."""
    local = _places((NODES, NODES, NODES))
    rim = local[((local == 0) | (local == SIDE)).any(axis=1)]
    nodes = blocks.coords[slots].astype(np.int64)[:, None] * SIDE + rim
    values = blocks.values[slots[:, None], rim[:, 0], rim[:, 1], rim[:, 2]]
    return blocks.write(nodes.reshape(-1, 3), values.reshape(-1))
