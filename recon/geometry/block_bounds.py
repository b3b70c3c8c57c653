"""What the values at a block's nodes say about the places between them, given how fast the field can change."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.geometry.blocks import NODES, SIDE

HALF = SIDE // 2
_DISTANCE = np.sqrt(sum(np.meshgrid(*[np.arange(NODES) % 2] * 3, indexing="ij"))).astype(np.float32) / 2
"""Of each node of a block from the coarser nodes it lies between, in coarse cells."""


def suspicious(values: np.ndarray, reach: float) -> np.ndarray:
    """Which cells of closed blocks may hold surface.

    Args:
        values: (n, k, k, k) values or signed bounds.
        reach: how much the field can change along the side of a cell.

    Returns:
        (n, k-1, k-1, k-1) bool: False where each point of the cell is certain, by its nearest corner (at most half a
        diagonal away) or by any one corner (at most a whole diagonal away), and the corners have one sign.
    """
    size, inside = np.abs(values), values < 0
    half = np.float32(reach * 3**0.5 / 2)
    close, near = size <= half, size <= 2 * half
    some, every = inside, inside
    for axis in (1, 2, 3):
        close, near = _pairs(np.logical_or, close, axis), _pairs(np.logical_and, near, axis)
        some, every = _pairs(np.logical_or, some, axis), _pairs(np.logical_and, every, axis)
    return np.asarray((close & near) | (some & ~every))


def _pairs(combine: np.ufunc, values: np.ndarray, axis: int) -> np.ndarray:
    """Combine each node with the next along an axis."""
    first, second = _neighbours(axis)
    return combine(values[first], values[second])


def _neighbours(axis: int) -> tuple[Any, Any]:
    first, second = [slice(None)] * 4, [slice(None)] * 4
    first[axis], second[axis] = slice(None, -1), slice(1, None)
    return tuple(first), tuple(second)


def bounds(coarse: np.ndarray, reach: float) -> np.ndarray:
    """Signed lower bounds of a field's distance from zero at twice as many nodes; 0 where the sign is open.

    Args:
        coarse: (n, 5, 5, 5) values or signed bounds.
        reach: how much the field can change along the side of a coarse cell.

    Returns:
        (n, 9, 9, 9): at coarse nodes the same values; between them the farthest from zero of the coarse nodes
        around, less what the field can change on the way from there.
    """
    for axis in (1, 2, 3):
        first = coarse.take(range(HALF), axis=axis)
        second = coarse.take(range(1, HALF + 1), axis=axis)
        shape = list(coarse.shape)
        shape[axis] = NODES
        wide = np.empty(shape, dtype=np.float32)
        index = [slice(None)] * 4
        index[axis] = slice(None, None, 2)
        wide[tuple(index)] = coarse
        index[axis] = slice(1, None, 2)
        wide[tuple(index)] = np.where(np.abs(first) >= np.abs(second), first, second)
        coarse = wide
    return np.copysign(np.maximum(np.abs(coarse) - np.float32(reach) * _DISTANCE, 0), coarse)


def corners(cells: np.ndarray) -> np.ndarray:
    """(n, 8, 8, 8) marked cells to (n, 9, 9, 9) marked nodes."""
    for axis in (1, 2, 3):
        edge = [(0, 0)] * 4
        edge[axis] = (1, 1)
        cells = _pairs(np.logical_or, np.pad(cells, edge), axis)
    return cells


def ends(values: np.ndarray) -> np.ndarray:
    """(n, 9, 9, 9) bool: nodes at an end of an edge whose ends differ in sign."""
    inside = values < 0
    found = np.zeros(values.shape, dtype=bool)
    for axis in (1, 2, 3):
        crossed = _pairs(np.not_equal, inside, axis)
        first, second = _neighbours(axis)
        found[first] |= crossed
        found[second] |= crossed
    return found
