"""A block-sparse grid: closed blocks of 8 x 8 x 8 cells, which share the nodes between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

SIDE = 8
"""Cells along a side of a block: small enough to hug a surface, large enough for arrays to pay."""

NODES = SIDE + 1
BATCH = 512
"""Blocks handled at a time: 1.5 MB of values, which the cache holds."""

_STEPS = np.array([NODES * NODES, NODES, 1])


class Blocks:
    """Values on the blocks near a surface.

    Attributes:
        shape: number of blocks along each axis of the whole grid.
        coords: (n, 3) int32, the place of each block, in blocks.
        values: (n, 9, 9, 9) float32; a block's last nodes are its neighbours' first.
        known: (n, 9, 9, 9) bool: evaluated, where False the value has the right sign but is only a bound.
    """

    def __init__(self, shape: tuple[int, int, int], coords: np.ndarray, values: np.ndarray, known: np.ndarray) -> None:
        self.shape = shape
        self.coords = coords.astype(np.int32, copy=False)
        self.values = values
        self.known = known
        self._slots = np.full([n + 2 for n in shape], -1, dtype=np.int32)
        self._strides = np.array([(shape[1] + 2) * (shape[2] + 2), shape[2] + 2, 1])
        self._slots[tuple(self.coords.T + 1)] = np.arange(len(coords), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.coords)

    def batches(self, slots: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """The blocks, or some of them, a cache-sized batch at a time."""
        slots = np.arange(len(self)) if slots is None else slots
        for start in range(0, len(slots), BATCH):
            yield slots[start : start + BATCH]

    def find(self, coords: np.ndarray) -> np.ndarray:
        """(n, 3) places, at most one block outside of the grid, to slots; -1 where there is no block."""
        flat = (coords + 1) @ self._strides
        return self._slots.reshape(-1).take(flat)

    def extend(self, coords: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Add blocks whose values are all known; their slots."""
        slots = np.arange(len(self), len(self) + len(coords))
        self._slots[tuple(coords.T + 1)] = slots
        self.coords = np.concatenate([self.coords, coords.astype(np.int32)])
        self.values = np.concatenate([self.values, values])
        self.known = np.concatenate([self.known, np.ones(values.shape, dtype=bool)])
        return slots

    def write(self, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Store evaluated nodes in all the blocks that share them; the slots of those blocks.

        Args:
            nodes: (N, 3) nodes of the grid.
            values: (N,) what was found there.
        """
        touched = []
        all_values, all_known = self.values.reshape(-1), self.known.reshape(-1)
        home = nodes // SIDE
        local = nodes - SIDE * home
        low = local == 0
        for shift in product((0, 1), repeat=3):
            shares = np.flatnonzero(low[:, np.flatnonzero(shift)].all(axis=1)) if any(shift) else np.arange(len(nodes))
            slot = self.find(home.take(shares, axis=0) - shift)
            there = np.flatnonzero(slot >= 0)
            shares, slot = shares.take(there), slot.take(there)
            place = local.take(shares, axis=0) @ _STEPS + slot * np.int64(NODES**3) + SIDE * int(np.dot(shift, _STEPS))
            all_values[place] = values.take(shares)
            all_known[place] = True
            touched.append(slot)
        return np.unique(np.concatenate(touched))

    def agree(self) -> None:
        """Give nodes on borders one value: that of the last block (by place) among those that share them.

        Values of one node may differ in the last bits between blocks that were computed apart, and a zero between
        them would tear the surface.
        """
        for shift in product((-1, 0, 1), repeat=3):
            if shift <= (0, 0, 0):
                continue
            other = self.find(self.coords + np.array(shift, dtype=np.int32))
            mine = np.flatnonzero(other >= 0)
            here: Any = [{-1: 0, 0: slice(None), 1: SIDE}[s] for s in shift]
            there: Any = [{-1: SIDE, 0: slice(None), 1: 0}[s] for s in shift]
            self.values[(mine, *here)] = self.values[(other[mine], *there)]

    def leaving(self, slots: np.ndarray) -> np.ndarray:
        """Places inside the grid, without a block yet, into which a sign change on a border leads."""
        found = []
        for axis, side in product(range(3), (0, 1)):
            face = self.values[slots].take(SIDE * side, axis=axis + 1) < 0
            mixed = face.any(axis=(1, 2)) & ~face.all(axis=(1, 2))
            place = self.coords[slots[mixed]].copy()
            place[:, axis] += 2 * side - 1
            found.append(place)
        places = np.unique(np.concatenate(found), axis=0)
        places = places[((places >= 0) & (places < self.shape)).all(axis=1)]
        return places[self.find(places) < 0]
