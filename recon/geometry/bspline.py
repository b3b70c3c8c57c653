"""Quadratic B-spline fields on nested, block-sparse grids.

A level is a grid of cubic cells with one coefficient a cell, centred in it. The value in cell i depends on the 27
coefficients of cells i-1 .. i+1 through the 1-D weights ``(1-t)^2/2, 3/4-(t-1/2)^2, t^2/2`` (t in [0, 1] within the
cell), so the field is C1 and its second derivatives are constant along their axis in a cell. Spaces are nested: the
coefficients of the twice finer level are 3/4, 1/4 averages of their two nearest coarse ones along each axis
(de Boor, A Practical Guide to Splines, 2001; Chaikin's rule), so that refinement is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from recon.geometry.bspline_blocks import Bounds

OFFSETS = torch.tensor(list(product((-1, 0, 1), repeat=3)))
CHUNK = 1 << 17


def basis(t: Tensor) -> Tensor:
    """(...) positions within a cell to (..., 3) weights of the coefficients before, in and after it."""
    return torch.stack((0.5 * (1 - t) ** 2, 0.75 - (t - 0.5) ** 2, 0.5 * t**2), dim=-1)


def basis_slope(t: Tensor) -> Tensor:
    """The derivative of `basis` by t."""
    return torch.stack((t - 1, 1 - 2 * t, t), dim=-1)


def stencil(t: Tensor, cell: float) -> Tensor:
    """Weights of value and gradient on the 27 coefficients about a cell.

    Args:
        t: (N, 3) positions within cells, in [0, 1].
        cell: side of a cell.

    Returns:
        (N, 4, 27): value, d/dx, d/dy, d/dz; the coefficients in the order of `OFFSETS`.
    """
    value, slope = basis(t), basis_slope(t) / cell
    rows = []
    for axis in (None, 0, 1, 2):
        x, y, z = (slope[:, a] if a == axis else value[:, a] for a in range(3))
        rows.append((x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1))
    return torch.stack(rows, dim=1)


@dataclass(frozen=True)
class Grid:
    """Where the cells of a level lie.

    Attributes:
        shape: cells along x, y, z; the outermost ring carries coefficients only.
        low: corner of cell (0, 0, 0).
        cell: side of a cell.
    """

    shape: tuple[int, int, int]
    low: tuple[float, float, float]
    cell: float

    @property
    def count(self) -> int:
        """Cells in all."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def finer(self) -> Grid:
        """The same box in cells of half the side."""
        x, y, z = self.shape
        return Grid((2 * x, 2 * y, 2 * z), self.low, self.cell / 2)

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3) points to their (N, 3) int64 cells and (N, 3) positions within; points outside are clamped."""
        scaled = (points - points.new_tensor(self.low)) / self.cell
        last = torch.tensor(self.shape, device=points.device) - 2
        cells = torch.minimum(scaled.long().clamp_min(1), last)
        return cells, (scaled - cells).clamp(0, 1)

    def keys(self, cells: Tensor) -> Tensor:
        """(..., 3) cells to (...) flat numbers, x slowest."""
        return (cells[..., 0] * self.shape[1] + cells[..., 1]) * self.shape[2] + cells[..., 2]

    def cells(self, keys: Tensor) -> Tensor:
        """The inverse of `keys`."""
        plane = self.shape[1] * self.shape[2]
        return torch.stack((keys // plane, keys // self.shape[2] % self.shape[1], keys % self.shape[2]), dim=-1)


class Level:
    """The coefficients that one level stores.

    Args:
        grid: where its cells lie.
        keys: (M,) ascending flat numbers of the stored cells, or None for all of them.

    Attributes:
        slots: (cells,) int32, the place of each cell's coefficient in `values`; M where none is stored.
        values: (M + 1,) float32 coefficients; the last one is a dummy and stays 0.
    """

    def __init__(self, grid: Grid, keys: Tensor | None = None, device: torch.device | str = "cpu") -> None:
        self.grid = grid
        self.keys = torch.arange(grid.count, device=device) if keys is None else keys
        size = len(self.keys)
        self.slots = torch.full((grid.count,), size, dtype=torch.int32, device=self.keys.device)
        self.slots[self.keys] = torch.arange(size, dtype=torch.int32, device=self.keys.device)
        self.values = torch.zeros(size + 1, device=self.keys.device)

    @property
    def size(self) -> int:
        """Coefficients stored."""
        return len(self.keys)

    @property
    def is_dense(self) -> bool:
        return self.size == self.grid.count

    def around(self, cells: Tensor) -> Tensor:
        """(N, 3) interior cells to the (N, 27) slots of the coefficients that act there."""
        shifts = self.grid.keys(OFFSETS.to(cells.device))
        return self.slots[self.grid.keys(cells)[:, None] + shifts]


class BSplineField:
    """A signed field, negative inside, held as nested levels of which the finer ones are narrow bands.

    Outside the band of a level the field is that of the next coarser one.

    Args:
        levels: coarse to fine; the first is dense, each has half the cell of the one before.
    """

    def __init__(self, levels: list[Level]) -> None:
        self.levels = levels

    @property
    def device(self) -> torch.device:
        return self.levels[0].values.device

    @property
    def low(self) -> tuple[float, float, float]:
        """Lower corner of the box in which the field is defined."""
        base = self.levels[0].grid
        x, y, z = (a + base.cell for a in base.low)
        return x, y, z

    @property
    def high(self) -> tuple[float, float, float]:
        """Upper corner of that box."""
        base = self.levels[0].grid
        x, y, z = (a + (n - 1) * base.cell for a, n in zip(base.low, base.shape, strict=True))
        return x, y, z

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) points to (N,) values."""
        return self.jet(points)[:, 0]

    def gradient(self, points: Tensor) -> Tensor:
        """(N, 3) points to (N, 3) exact gradients."""
        return self.jet(points)[:, 1:]

    def jet(self, points: Tensor) -> Tensor:
        """(N, 3) points to (N, 4): value and gradient."""
        found = [self._jet(part.to(self.device), len(self.levels) - 1) for part in points.split(CHUNK)]
        return torch.cat(found) if found else points.new_zeros(0, 4)

    def _jet(self, points: Tensor, depth: int) -> Tensor:
        level = self.levels[depth]
        cells, t = level.grid.locate(points)
        slots = level.around(cells)
        absent = slots == level.size
        outside, edge = absent.all(dim=1), absent.any(dim=1)
        values = level.values[slots]
        if depth and bool(edge.any()):
            edge &= ~outside
            values[edge] = self.box(depth, cells[edge] - 1, 3).flatten(1)
        out = torch.einsum("nkj,nj->nk", stencil(t, level.grid.cell), values)
        if depth and bool(outside.any()):
            out[outside] = self._jet(points[outside], depth - 1)
        return out

    def lattice(self, origins: Tensor, size: int, low: tuple[float, float, float], spacing: float) -> Tensor:
        """Values on cubes of regular nodes (see `recon.geometry.extraction.Lattice`)."""
        from recon.geometry.bspline_blocks import block_values

        return block_values(self, origins, size, low, spacing)

    def active(
        self, origins: Tensor, cells: int, low: tuple[float, float, float], spacing: float, level: float
    ) -> Tensor:
        """Which blocks may hold the level (see `recon.geometry.extraction.Bounded`)."""
        return self._bounds.active(origins, cells, low, spacing, level)

    @cached_property
    def _bounds(self) -> Bounds:
        from recon.geometry.bspline_blocks import Bounds

        return Bounds(self)

    def box(self, depth: int, first: Tensor, width: int) -> Tensor:
        """Coefficients of cubes of cells, stored there or refined from coarser levels.

        Args:
            depth: 0 is the coarsest level; depths beyond the finest level are refined further, exactly.
            first: (n, 3) int64 lower corner cell of each cube; cells beyond the grid repeat its border.
            width: cells a side.

        Returns:
            (n, width, width, width).
        """
        if depth >= len(self.levels):
            return self._refined(depth, first, width)
        level = self.levels[depth]
        last = torch.tensor(level.grid.shape, device=first.device)[:, None] - 1
        cells = first[:, :, None] + torch.arange(width, device=first.device)
        x, y, z = torch.minimum(cells.clamp_min(0), last).unbind(dim=1)
        strides = level.grid.shape[1] * level.grid.shape[2], level.grid.shape[2]
        keys = (x * strides[0])[:, :, None, None] + (y * strides[1])[:, None, :, None] + z[:, None, None, :]
        slots = level.slots[keys]
        out = level.values[slots]
        if depth and not level.is_dense:
            missing = slots == level.size
            rows = missing.flatten(1).any(dim=1).nonzero()[:, 0]
            if len(rows):
                out[rows] = torch.where(missing[rows], self._refined(depth, first[rows], width), out[rows])
        return out

    def _refined(self, depth: int, first: Tensor, width: int) -> Tensor:
        origin = (first >> 1) - 1
        values = self.box(depth - 1, origin, width // 2 + 3)
        cells = first[:, :, None] + torch.arange(width, device=first.device)
        near = (cells >> 1) - origin[:, :, None]
        far = near + 2 * (cells & 1) - 1
        for axis in range(3):
            shape = [len(first), 1, 1, 1]
            shape[axis + 1] = width
            size = list(values.shape)
            size[axis + 1] = width
            one, two = (index[:, axis].view(shape).expand(size) for index in (near, far))
            values = 0.75 * values.gather(axis + 1, one) + 0.25 * values.gather(axis + 1, two)
        return values


def parents_of(cells: Tensor) -> Iterator[tuple[float, Tensor]]:
    """The eight coarse cells that make up fine ones, each with its weight ((3/4, 1/4) along each axis)."""
    near = cells >> 1
    far = near + 2 * (cells & 1) - 1
    for pick in product((False, True), repeat=3):
        use_far = torch.tensor(pick, device=cells.device)
        yield 0.75 ** (3 - sum(pick)) * 0.25 ** sum(pick), torch.where(use_far, far, near)
