"""Sparse sets of numbered voxels of one size, with marks: what MISE remembers of the cells it may divide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

INSIDE, OUTSIDE, LEAF = 1, 2, 4
MIXED = INSIDE | OUTSIDE | LEAF
CORNERS = np.array(list(product((0, 1), repeat=3)), dtype=np.int64)


class Voxels:
    """What is known of the voxels of one size, kept only for those that are leaves or touch a known node.

    Attributes:
        shape: (3,) voxels along each axis.
        keys: (n,) their sorted numbers, ``(x * ny + y) * nz + z``.
        marks: (n,) uint8: `INSIDE` and `OUTSIDE` where a touching node was of that sign, `LEAF` where not divided.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = np.array(shape, dtype=np.int64)
        self.keys = np.zeros(0, dtype=np.int64)
        self.marks = np.zeros(0, dtype=np.uint8)

    def mark(self, keys: np.ndarray, mark: int) -> None:
        """Add a mark to the voxels of sorted, distinct keys."""
        at = np.searchsorted(self.keys, keys)
        there = np.take(self.keys, at, mode="clip") == keys if len(self.keys) else np.zeros(len(keys), dtype=bool)
        self.marks[at[there]] |= np.uint8(mark)
        self.keys = np.insert(self.keys, at[~there], keys[~there])
        self.marks = np.insert(self.marks, at[~there], np.uint8(mark))

    def touching(self, nodes: np.ndarray, bits: int) -> np.ndarray:
        """The sorted keys of the voxels, ``2**bits`` cells wide, that touch some of the (n, 3) nodes."""
        keys, within = [], nodes & ((1 << bits) - 1) != 0
        for shift in CORNERS:
            place = (nodes - shift) >> bits
            # Along an axis a node lies within one voxel or between two.
            real = ((place >= 0) & (place < self.shape) & ~(within & (shift == 1))).all(axis=1)
            keys.append(keys_of(place[real], self.shape))
        return distinct(np.concatenate(keys))

    def divide(self) -> np.ndarray:
        """(m, 3) the leaves of both signs, which are leaves no longer."""
        mixed = np.flatnonzero(self.marks == MIXED)
        self.marks[mixed] ^= np.uint8(LEAF)
        return places_of(self.keys[mixed], self.shape)


def distinct(keys: np.ndarray) -> np.ndarray:
    """The sorted, distinct values of (n,) integers; many times faster than numpy's, which hashes before it sorts."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=keys[:1] - 1) != 0]


def missing(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Those of (n,) keys that are not among (m,) sorted ones."""
    if not len(known):
        return keys
    return keys[np.take(known, np.searchsorted(known, keys), mode="clip") != keys]


def keys_of(places: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(n,) int64 numbers ``(x * ny + y) * nz + z`` of (n, 3) places."""
    return np.asarray((places[:, 0] * shape[1] + places[:, 1]) * shape[2] + places[:, 2])


def places_of(keys: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(n, 3) int64 places of (n,) numbers."""
    _, y, z = shape
    return np.stack([keys // (y * z), keys // z % y, keys % z], axis=1)
