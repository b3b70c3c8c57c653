"""Nested levels of coefficients as one set of unknowns: narrow bands, refinement and its transpose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.geometry.bspline import BSplineField, Grid, Level, parents_of
from recon.geometry.spline_operators import Adjacency


class Stack:
    """Levels, coarse to fine, and how increments on all of them add up.

    A flat vector holds one increment for every coefficient of every level. Coefficients that a level stores are the
    refinement of the coarser level plus its own increment, so that coarse increments move all finer levels.

    Attributes:
        levels: coarse to fine.
        near: neighbour tables of each.
        bare: of each, (M + 1,) 1 where the curvature of a cell is to be counted, 0 where a finer level does it.
        free: of each, (M + 1,) 1 where increments are allowed: not on the outer layer of a band.
        diagonals: of each, of the energy as seen by its own coefficients: the preconditioner.
    """

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.near: list[Adjacency] = []
        self.bare: list[Tensor] = []
        self.free: list[Tensor] = []
        self.diagonals: list[Tensor] = []
        self.parents: list[Tensor] = []

    def push(self, level: Level) -> None:
        """Add a finer level."""
        near = Adjacency(level)
        stored = torch.ones_like(level.values)
        stored[-1] = 0
        if self.levels:
            self.bare[-1] = uncovered(self.levels[-1], level, near)
            self.parents.append(parent_slots(self.levels[-1], level))
        self.levels.append(level)
        self.near.append(near)
        self.bare.append(stored)
        self.free.append(stored if level.is_dense else near.inner)
        self.diagonals.append(stored)

    def expand(self, increments: Tensor) -> list[Tensor]:
        """The change of the stored coefficients of every level."""
        own = increments.split([len(free) for free in self.free])
        out = [own[0]]
        for parents, part in zip(self.parents, own[1:], strict=True):
            refined = out[-1].index_select(0, parents.view(-1)).view(parents.shape) @ SHARES.to(part)
            out.append(torch.cat((refined, refined.new_zeros(1))).add_(part))
        return out

    def restrict(self, forces: Sequence[Tensor]) -> Tensor:
        """The transpose of `expand`, over the free increments."""
        out = [forces[-1]]
        for parents, force in zip(reversed(self.parents), reversed(forces[:-1]), strict=True):
            spread = (out[0][:-1, None] * SHARES.to(force)).view(-1)
            out.insert(0, force.index_add(0, parents.view(-1), spread))
        return torch.cat(out).mul_(torch.cat(self.free))

    def inverse_diagonal(self) -> Tensor:
        """(flat) the preconditioner, 0 where increments are not allowed."""
        return torch.cat(self.free) / torch.cat(self.diagonals).clamp_min(1e-20)


SHARES = torch.tensor([weight for weight, _ in parents_of(torch.zeros(1, 3, dtype=torch.long))])


def parent_slots(coarse: Level, fine: Level) -> Tensor:
    """(M, 8) int32 slots of the coarse coefficients that make up each fine one, in the order of `SHARES`."""
    cells = fine.grid.cells(fine.keys)
    last = cells.new_tensor(coarse.grid.shape) - 1
    columns = []
    for _, parents in parents_of(cells):
        columns.append(coarse.slots[coarse.grid.keys(torch.minimum(parents.clamp_min(0), last))])
    return torch.stack(columns, dim=1)


def uncovered(coarse: Level, fine: Level, near: Adjacency) -> Tensor:
    """(M + 1,) 1 for coarse cells of which not all eight children have all their neighbours stored."""
    covered = fine.values.new_zeros(len(coarse.values))
    rows = torch.ones_like(near.inner) if fine.is_dense else near.inner
    parents = coarse.slots[coarse.grid.keys(fine.grid.cells(fine.keys) >> 1)]
    covered.index_add_(0, parents, rows[:-1])
    bare = (covered < 8).to(covered.dtype)
    bare[-1] = 0
    return bare


def next_level(levels: Sequence[Level], grid: Grid, points: Tensor, margin: int, dense: bool) -> Level:
    """A finer level, started from the exact refinement of the levels so far."""
    device = points.device
    if not levels:
        return Level(grid, device=device)
    keys = None if dense else band(levels[-1], grid, points, margin + 1)
    level = Level(grid, keys, device)
    level.values[:-1] = refined(levels, level)
    return level


def refined(levels: Sequence[Level], level: Level) -> Tensor:
    """(M,) the coefficients of a finer level that leave the field as it is."""
    coarse = levels[-1]
    parents = parent_slots(coarse, level)
    out = coarse.values[parents] @ SHARES.to(coarse.values)
    if not coarse.is_dense:
        missing = (parents == coarse.size).any(dim=1).nonzero()[:, 0]
        cells = level.grid.cells(level.keys[missing])
        out[missing] = BSplineField(list(levels)).box(len(levels), cells, 1).flatten()
    return out


def band(coarse: Level, grid: Grid, points: Tensor, margin: int) -> Tensor:
    """Flat numbers of the cells within `margin` of the points or of the coarse surface, ascending."""
    parents = torch.zeros(coarse.grid.shape, dtype=torch.bool, device=points.device)
    parents.view(-1)[coarse.keys] = crossed(coarse)
    mask = parents
    for axis in range(3):
        mask = mask.repeat_interleave(2, dim=axis)
    cells, _ = grid.locate(points)
    mask.view(-1)[grid.keys(cells)] = True
    for axis in range(3):
        mask = dilated(mask, axis, margin)
    return mask.view(-1).nonzero()[:, 0]


def dilated(mask: Tensor, axis: int, steps: int) -> Tensor:
    """True wherever `mask` is within `steps` along an axis."""
    out = mask.clone()
    size = mask.shape[axis]
    for step in range(1, steps + 1):
        out.narrow(axis, step, size - step).logical_or_(mask.narrow(axis, 0, size - step))
        out.narrow(axis, 0, size - step).logical_or_(mask.narrow(axis, step, size - step))
    return out


def crossed(level: Level) -> Tensor:
    """(M,) whether the field changes sign between the corners of each stored cell."""
    near = Adjacency(level)
    corner = level.values
    for minus in near.minus:
        corner = corner + corner[minus]
    low = high = torch.sign(corner)
    for plus in near.plus:
        low, high = torch.minimum(low, low[plus]), torch.maximum(high, high[plus])
    return ((low < 0) & (high > 0))[:-1]
