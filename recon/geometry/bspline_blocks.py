"""B-spline fields on blocks of a regular lattice, as mesh extraction asks for them.

Values on a block are three small matrix products of its coefficients with 1-D weights. Which blocks may hold surface
follows from the convex-hull property: a spline lies between the least and the greatest of the coefficients around.
"""

from __future__ import annotations

from itertools import product
from math import ceil, log2

import torch
from torch import Tensor

from recon.geometry.bspline import BSplineField, basis

DENSEST = 3
"""Depth of the dense table of bounds: cells of 1/128 of the box."""

WIDEST = 4
"""Cells of a table that a block is looked up in, along an axis, about."""

BATCH = 1 << 20


def block_values(field: BSplineField, origins: Tensor, size: int, low: tuple[float, ...], spacing: float) -> Tensor:
    """Values on cubes of lattice nodes (see `recon.geometry.extraction.Lattice`).

    Args:
        field: the field.
        origins: (n, 3) int64 node at the lower corner of each cube.
        size: nodes a side.
        low: position of node (0, 0, 0).
        spacing: distance of neighbouring nodes.

    Returns:
        (n, size, size, size) float32.
    """
    cell = field.levels[-1].grid.cell
    if not len(origins):
        return torch.zeros(0, size, size, size, device=field.device)
    if spacing > 2 * cell:
        return _sparse_values(field, origins, size, low, spacing)
    width = int((size - 1) * spacing / cell + 1e-6) + 4
    batch = max(1, BATCH // width**3)
    parts = [_dense_values(field, part, size, low, spacing, width) for part in origins.split(batch)]
    return torch.cat(parts)


def _sparse_values(field: BSplineField, origins: Tensor, size: int, low: tuple[float, ...], spacing: float) -> Tensor:
    steps = torch.arange(size, device=origins.device)
    local = torch.cartesian_prod(steps, steps, steps)
    nodes = origins[:, None] + local
    points = torch.tensor(low, device=origins.device) + spacing * nodes.reshape(-1, 3)
    return field(points.float()).view(-1, size, size, size)


def _dense_values(
    field: BSplineField, origins: Tensor, size: int, low: tuple[float, ...], spacing: float, width: int
) -> Tensor:
    depth = len(field.levels) - 1
    grid = field.levels[-1].grid
    # Node positions in cells are formed in float64: in float32 a far corner of a 2048^3 lattice would shake.
    shift = (torch.tensor(low, dtype=torch.float64) - torch.tensor(grid.low, dtype=torch.float64)).to(origins.device)
    nodes = origins[:, :, None] + torch.arange(size, device=origins.device)
    scaled = (shift[:, None] + spacing * nodes) / grid.cell
    last = torch.tensor(grid.shape, device=origins.device)[:, None] - 2
    cells = torch.minimum(scaled.floor().long().clamp_min(1), last)
    t = (scaled - cells).clamp(0, 1).float()
    first = cells[:, :, 0] - 1
    values = field.box(depth, first, width)
    weights = torch.zeros(*nodes.shape, width, device=origins.device)
    place = (cells - 1 - first[:, :, None])[..., None] + torch.arange(3, device=origins.device)
    weights.scatter_(3, place, basis(t))
    count = len(origins)
    out = torch.bmm(weights[:, 0], values.view(count, width, -1)).view(count, size, width, width)
    out = torch.matmul(weights[:, 1, None], out)
    return torch.matmul(out, weights[:, 2, None].transpose(2, 3))


def _halved(values: Tensor) -> Tensor:
    return torch.nn.functional.max_pool3d(values[None, None], 2)[0, 0]


class Bounds:
    """For every cell of the coarser grids, the least and greatest of the finest coefficients within it.

    Args:
        field: the field; it must not change afterwards.

    Attributes:
        tables: for each depth up to `DENSEST` the two dense arrays.
    """

    def __init__(self, field: BSplineField) -> None:
        self.field = field
        self.depth = min(DENSEST, len(field.levels) - 1)
        finest = field.levels[-1]
        low = high = finest.values[:-1]
        for depth in range(len(field.levels) - 2, self.depth - 1, -1):
            low, high = self._gathered(depth, low, high)
        grid = field.levels[self.depth].grid
        if field.levels[self.depth].is_dense:
            table = low.view(grid.shape), high.view(grid.shape)
        else:
            table = self._background(-1), self._background(1)
            table[0].view(-1)[field.levels[self.depth].keys] = low
            table[1].view(-1)[field.levels[self.depth].keys] = high
        self.tables = [table]
        for _ in range(self.depth):
            least, most = self.tables[0]
            self.tables.insert(0, (-_halved(-least), _halved(most)))

    def _gathered(self, depth: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds in the stored cells of one level from those of the next finer one."""
        level, finer = self.field.levels[depth], self.field.levels[depth + 1]
        parents = level.slots[level.grid.keys(finer.grid.cells(finer.keys) >> 1)].long()
        count = torch.zeros(level.size + 1, dtype=torch.long, device=low.device).index_add_(
            0, parents, torch.ones_like(parents)
        )
        least = level.values.new_full((level.size + 1,), torch.inf).scatter_reduce_(0, parents, low, "amin")[:-1]
        most = level.values.new_full((level.size + 1,), -torch.inf).scatter_reduce_(0, parents, high, "amax")[:-1]
        partial = (count[:-1] < 8).nonzero()[:, 0]
        for part in partial.split(BATCH // 27):
            hull = self.field.box(depth, level.grid.cells(level.keys[part]) - 1, 3).flatten(1)
            least[part] = torch.minimum(least[part], hull.amin(dim=1))
            most[part] = torch.maximum(most[part], hull.amax(dim=1))
        return least, most

    def _background(self, sign: int) -> Tensor:
        """Bounds that the finest dense level sets on its refinements, on the cells of the table."""
        dense = max(d for d, level in enumerate(self.field.levels) if level.is_dense)
        level = self.field.levels[dense]
        values = sign * level.values[:-1].view(1, 1, *level.grid.shape)
        for depth in range(dense, self.depth):
            if depth > dense:
                finer = self.field.levels[depth]
                stored = finer.keys
                values.view(-1)[stored] = torch.maximum(values.view(-1)[stored], sign * finer.values[:-1])
            values = torch.nn.functional.max_pool3d(values, 3, 1, 1)
            values = values.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
        return sign * values[0, 0]

    def active(self, origins: Tensor, cells: int, low: tuple[float, ...], spacing: float, level: float) -> Tensor:
        """Whether each block may hold the level (see `recon.geometry.extraction.Bounded`)."""
        fine = self.field.levels[-1].grid
        shift = (torch.tensor(low, dtype=torch.float64) - torch.tensor(fine.low, dtype=torch.float64)).to(
            origins.device
        )
        start = (shift.to(origins.device) + spacing * origins) / fine.cell
        stop = start + cells * spacing / fine.cell
        span = (cells * spacing / fine.cell + 3) / WIDEST
        depth = max(0, min(self.depth, len(self.field.levels) - 1 - ceil(log2(max(span, 1.0)))))
        grid, low_table, high_table = self.field.levels[depth].grid, *self.tables[depth]
        ratio = 2 ** (len(self.field.levels) - 1 - depth)
        last = torch.tensor(grid.shape, device=origins.device) - 1
        first = torch.minimum(((start.floor().long() - 1) // ratio).clamp_min(0), last)
        final = torch.minimum(((stop.floor().long() + 1) // ratio).clamp_min(0), last)
        width = int((final - first).max()) + 1 if len(origins) else 0
        below = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        above = below.clone()
        for step in product(range(width), repeat=3):
            keys = grid.keys(torch.minimum(first + torch.tensor(step, device=first.device), final))
            below |= low_table.view(-1)[keys] <= level
            above |= high_table.view(-1)[keys] >= level
        return below & above
