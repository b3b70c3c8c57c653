"""What mesh extraction asks of a field, and the regular grid it walks on.

A field is any map from points to values. One that is cheap on regular lattices (a B-spline, a voxel grid) may say
so by being a `Lattice`, and one that can rule out blocks by being a `Bounded`; both are then used, never required.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

Corner = tuple[float, float, float]


@runtime_checkable
class Lattice(Protocol):
    """A field that evaluates cubic pieces of a regular lattice faster than point by point.

    Node ``i`` of the lattice, a triple of integers, lies at ``low + spacing * i``. Pieces may overhang the box of the
    surface by less than one block: any finite value will do there. The same node asked for as part of two pieces may
    differ in its last bits.
    """

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) local float32 points to (N,) values."""
        ...

    def lattice(self, origins: Tensor, size: int, low: Corner, spacing: float) -> Tensor:
        """Values on cubes of ``size`` nodes a side.

        Args:
            origins: (n, 3) int64, the node at the lower corner of each cube, on the field's device.
            size: nodes a side.
            low: local position of node (0, 0, 0).
            spacing: local distance of neighbouring nodes.

        Returns:
            (n, size, size, size) float32, axes x, y, z, on the field's device.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """A field that can tell blocks which certainly hold none of a level set."""

    def active(self, origins: Tensor, cells: int, low: Corner, spacing: float, level: float) -> Tensor:
        """Whether each block may hold a point of the level set; a True too many costs time, a False too many a hole.

        Args:
            origins: (n, 3) int64, the node at the lower corner of each block.
            cells: cells a side; the closed block spans ``cells * spacing``.
            low: local position of node (0, 0, 0).
            spacing: local distance of neighbouring nodes.
            level: the value sought.

        Returns:
            (n,) bool.
        """
        ...


@runtime_checkable
class Composed(Protocol):
    """A field made of many parts, each as rich as a field for itself, such as a scene seen through windows.

    Attributes:
        chunk: points it wants in one call, so that each part has many of them.
        coarsest: side of the cells in which the search for its surface may begin, local.
    """

    chunk: int
    coarsest: float


@dataclass(frozen=True)
class Grid:
    """A regular grid over a box; cells are cubes, the longest side has `resolution` of them.

    Attributes:
        low: local position of node (0, 0, 0).
        spacing: side of a cell, local.
        cells: number of cells along x, y, z.
    """

    low: Corner
    spacing: float
    cells: tuple[int, int, int]

    @classmethod
    def over(cls, low: Corner, high: Corner, resolution: int) -> Grid:
        """The grid over a box; shorter sides are rounded up to whole cells."""
        extent = np.asarray(high, dtype=np.float64) - np.asarray(low, dtype=np.float64)
        spacing = float(extent.max()) / resolution
        x, y, z = (int(n) for n in np.maximum(np.ceil(extent / spacing - 1e-6), 1))
        return cls((float(low[0]), float(low[1]), float(low[2])), spacing, (x, y, z))

    def points(self, nodes: np.ndarray) -> np.ndarray:
        """(N, 3) integer nodes to float32 points; nodes beyond the grid are moved onto its border."""
        columns = [self.axis(d)[np.clip(nodes[:, d], 0, self.cells[d])] for d in range(3)]
        return np.stack(columns, axis=1)

    def positions(self, nodes: np.ndarray) -> np.ndarray:
        """(N, 3) positions in cells, fractions allowed, to float64 local points."""
        return np.asarray(self.low) + self.spacing * np.asarray(nodes, dtype=np.float64)

    def axis(self, dim: int) -> np.ndarray:
        """Coordinates of the nodes along one axis, rounded to float32 once, so that every block has the same."""
        return (self.low[dim] + self.spacing * np.arange(self.cells[dim] + 1)).astype(np.float32)
