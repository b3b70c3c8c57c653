"""MISE, the multi-resolution iso-surface extraction of Occupancy Networks (Mescheder et al. 2019, appendix 1.3).

For fields that say little away from their surface, such as occupancies: a cell is divided if nodes of both signs
touch it, until none is left. Unlike coarse-to-fine search it can miss what no node of the first grid notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from recon.geometry.blocks import NODES, SIDE, Blocks
from recon.geometry.evaluation import Evaluator
from recon.geometry.extraction import Composed
from recon.geometry.voxels import CORNERS, INSIDE, LEAF, OUTSIDE, Voxels, distinct, keys_of, missing, places_of

COARSEST = 32
"""Cells along the longest side of the first grid, at least."""


@dataclass
class Mise:
    """The refinement of one field.

    Attributes:
        evaluator: the field; its grid must have a multiple of ``2**steps`` cells, or is overhung.
        steps: how often cells may be halved.
        shape: cells of the first grid.
        points_per_round: evaluations in each round so far.
        keys: (K,) sorted numbers of the known nodes, ``(x * ny + y) * nz + z``.
        values: (K,) float32 values there, negative inside.
        levels: what is known of the cells of each size that may be divided, the largest first.
        finest: (F, 3) the smallest cells, those near the surface.
    """

    evaluator: Evaluator
    steps: int
    points_per_round: list[int] = field(default_factory=list)
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def __post_init__(self) -> None:
        self.shape = [-(-n >> self.steps) for n in self.evaluator.grid.cells]
        self.nodes = np.array([(n << self.steps) + 1 for n in self.shape], dtype=np.int64)
        self.levels = [Voxels([n << level for n in self.shape]) for level in range(self.steps)]
        if self.levels:
            self.levels[0].mark(np.arange(np.prod(self.shape), dtype=np.int64), LEAF)
        self.finest = np.zeros((0, 3), dtype=np.int64)

    def run(self) -> Mise:
        """Evaluate and divide until no node is unknown."""
        first = np.stack(np.meshgrid(*[np.arange(n + 1) << self.steps for n in self.shape], indexing="ij"), axis=-1)
        wanted = keys_of(first.reshape(-1, 3), self.nodes)
        while len(wanted):
            found = self.evaluator.nodes(places_of(wanted, self.nodes))
            self.points_per_round.append(len(wanted))
            order = np.searchsorted(self.keys, wanted)
            self.keys, self.values = np.insert(self.keys, order, wanted), np.insert(self.values, order, found)
            if self.levels:
                # Small voxels about nodes of the first grid matter only once its cells are divided.
                self._mark(places_of(wanted, self.nodes), found, 1 if len(self.points_per_round) == 1 else self.steps)
            mixed = [level.divide() for level in self.levels]
            divided = [self._divide(level, cells) for level, cells in enumerate(mixed)]
            wanted = missing(distinct(np.concatenate([*divided, wanted])), self.keys)
        return self

    def dense(self) -> np.ndarray:
        """All nodes; unknown ones repeat the one before along x, then y, then z, as the original does."""
        volume = np.full(int(self.nodes.prod()), np.nan, dtype=np.float32)
        volume[self.keys] = self.values
        volume = volume.reshape(self.nodes)
        for axis in range(3):
            place = np.arange(self.nodes[axis]).reshape([-1 if d == axis else 1 for d in range(3)])
            last = np.maximum.accumulate(np.where(np.isnan(volume), 0, place), axis=axis)
            volume = np.take_along_axis(volume, last, axis=axis)
        return volume

    def known_nodes(self) -> np.ndarray:
        """(K, 3) the evaluated nodes."""
        return places_of(self.keys, self.nodes)

    def _mark(self, nodes: np.ndarray, values: np.ndarray, levels: int) -> None:
        """Tell voxels of the first `levels` sizes that touch known nodes which signs these have; zero has both."""
        for mark, those in ((INSIDE, values <= 0), (OUTSIDE, values >= 0)):
            keys = self.levels[levels - 1].touching(nodes[those], self.steps - levels + 1)
            for level in reversed(range(levels)):
                self.levels[level].mark(keys, mark)
                if level:  # a voxel touches the nodes that the smaller ones in it touch
                    parents = places_of(keys, self.levels[level].shape) >> 1
                    keys = distinct(keys_of(parents, self.levels[level - 1].shape))

    def _divide(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Halve some leaves of one size; the keys of their children's nodes."""
        if level == 0:
            corners = distinct(keys_of((cells[:, None] + CORNERS).reshape(-1, 3) << self.steps, self.nodes))
            self._mark(places_of(corners, self.nodes), self.values[np.searchsorted(self.keys, corners)], self.steps)
        children = (2 * cells[:, None] + CORNERS).reshape(-1, 3)
        if level + 1 < self.steps:
            finer = self.levels[level + 1]
            finer.mark(np.sort(keys_of(children, finer.shape)), LEAF)
        else:
            self.finest = np.concatenate([self.finest, children])
        nodes = 2 * cells[:, None] + np.array(list(product((0, 1, 2), repeat=3)))
        return distinct(keys_of(nodes.reshape(-1, 3) << (self.steps - level - 1), self.nodes))


def mise_steps(cells: tuple[int, int, int]) -> int:
    """How often cells are halved: from 32 to 63 along the longest side up, as in the published settings."""
    return max(0, (max(cells) // COARSEST).bit_length() - 1)


def _steps(evaluator: Evaluator) -> int:
    """`mise_steps`, or fewer where the first cells would be too large for a field of many parts."""
    steps = mise_steps(evaluator.grid.cells)
    if isinstance(evaluator.field, Composed):
        steps = min(steps, max(0, int(np.log2(evaluator.field.coarsest / evaluator.grid.spacing) + 1e-6)))
    return steps


def mise_blocks(evaluator: Evaluator) -> Blocks:
    """The blocks of the finest grid that hold surface, by MISE."""
    mise = Mise(evaluator, _steps(evaluator)).run()
    x, y, z = (int(-(-n // SIDE)) for n in mise.nodes - 1)
    finest = mise.finest if mise.steps else np.argwhere(np.ones(mise.shape, dtype=bool))
    blocks_there = np.array([x, y, z], dtype=np.int64)
    coords = places_of(distinct(keys_of(finest // SIDE, blocks_there)), blocks_there)
    shape = (len(coords), NODES, NODES, NODES)
    blocks = Blocks((x, y, z), coords, np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool))
    blocks.write(mise.known_nodes(), mise.values)
    _fill(blocks, min(SIDE, 1 << mise.steps))
    return blocks


def _fill(blocks: Blocks, stride: int) -> None:
    """Give unknown nodes the value at the lower corner of the undivided cell they lie in, which has their sign."""
    while stride > 1:
        stride //= 2
        lower = np.arange(SIDE // stride + 1) // 2 * 2
        for batch in blocks.batches():
            part = np.s_[batch, ::stride, ::stride, ::stride]
            values = blocks.values[part]
            corner = values[:, lower][:, :, lower][:, :, :, lower]
            blocks.values[part] = np.where(blocks.known[part], values, corner)
    blocks.known[:] = True
