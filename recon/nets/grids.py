"""Where points lie on three planes or in a volume: coordinates, bins and sampling weights, computed once a batch.

Peng et al. 2020, "Convolutional Occupancy Networks", section 3. Local points lie in the unit cube [-0.5, 0.5]^3; the
grids span that box made larger by the padding. All grids of a batch are one table of cells, (cells, C): grid by grid,
item by item, row by row, so that a channels-last picture of a plane is a view of it.

As in the authors' programs points are binned by ``floor(u R)``, as if features were at cell centres, and sampled with
corners aligned at ``u (R - 1)``; weights are trained with that, so it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from recon.geometry.scatter import RowMap, mean_map

Kind = Literal["triplane", "volume"]
PLANES = ("xz", "xy", "yz")
PLANE_AXES = ((0, 2), (0, 1), (1, 2))
MARGIN = {"triplane": 1e-5, "volume": 1e-3}
"""What the authors add to the box and keep from its upper end; another one for each kind."""


def unit_coordinates(points: Tensor, kind: Kind, padding: float = 0.1) -> Tensor:
    """Points in [0, 1)^D of each grid; those outside the padded box are moved onto its border.

    Args:
        points: (..., 3) local.
        kind: three planes (xz, xy, yz), or one volume.
        padding: by how much the box is larger than the unit cube, in all.

    Returns:
        (3, ..., 2) or (1, ..., 3).
    """
    margin = MARGIN[kind]
    u = points / (1 + padding + margin) + 0.5
    u = torch.where(u >= 1, 1 - margin, u)
    u = torch.where(u < 0, 0.0, u)
    if kind == "volume":
        return u[None]
    return torch.stack([u[..., axes] for axes in PLANE_AXES])


def bins(u: Tensor, resolution: int) -> Tensor:
    """Flat index of the cell of each coordinate in its own grid; the first coordinate runs fastest.

    Args:
        u: (..., D) in [0, 1).
        resolution: cells a side.
    """
    cells = (u * resolution).long()
    return (cells * _strides(resolution, u.shape[-1], u.device)).sum(-1)


def _strides(resolution: int, dimensions: int, device: torch.device) -> Tensor:
    return torch.tensor([resolution**n for n in range(dimensions)], device=device)


def corners(u: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """The 2^D cells whose features a multilinear sample mixes, and how.

    Args:
        u: (..., D) in [0, 1).
        resolution: cells a side.

    Returns:
        (..., 2^D) flat indices in the point's own grid, and as many weights.
    """
    place = u * (resolution - 1)
    low = place.floor()
    high_share = place - low
    index, weight = None, None
    for axis in reversed(range(u.shape[-1])):
        first = low[..., axis].long()
        pair = torch.stack([first, (first + 1).clamp(max=resolution - 1)], dim=-1)
        share = torch.stack([1 - high_share[..., axis], high_share[..., axis]], dim=-1)
        if index is None or weight is None:
            index, weight = pair, share
        else:
            index = (index[..., :, None] * resolution + pair[..., None, :]).flatten(-2)
            weight = (weight[..., :, None] * share[..., None, :]).flatten(-2)
    assert index is not None
    assert weight is not None
    return index, weight


@dataclass(frozen=True)
class Cells:
    """Points among the cells of all grids of one resolution.

    Attributes:
        u: (G, B, N, D) coordinates.
        resolution: cells a side.
    """

    u: Tensor
    resolution: int

    @property
    def per_grid(self) -> int:
        return int(self.resolution ** self.u.shape[-1])

    @property
    def count(self) -> int:
        return self.u.shape[0] * self.u.shape[1] * self.per_grid

    @property
    def points(self) -> int:
        return self.u.shape[1] * self.u.shape[2]

    @cached_property
    def first(self) -> Tensor:
        """(G, B, 1) the first cell of each item's grids."""
        grids, items = self.u.shape[:2]
        return torch.arange(0, self.count, self.per_grid, device=self.u.device).view(grids, items, 1)

    @cached_property
    def bins(self) -> Tensor:
        """(G, B N) the cell of each point in each grid."""
        return (bins(self.u, self.resolution) + self.first).flatten(1)

    @cached_property
    def neighbourhoods(self) -> tuple[Tensor, int]:
        """(G B N,) which of the cells that hold points each point is in, and how many such cells there are."""
        held, index = self.bins.unique(return_inverse=True)
        return index.flatten(), len(held)

    def read(self, pictures: Tensor) -> Tensor:
        """Multilinear samples of pictures at the points, summed over the grids: (G B, C, R, ...) to (B N, C)."""
        if self.is_volume:
            held, sample = self._sample_of_few
            return sample(_Columns.apply(pictures.flatten(2), *held))
        return self.sample(table(pictures))

    def write(self, c: Tensor) -> Tensor:
        """The mean of the points (B N, C) of each cell, as pictures (G B, C, R, ...); empty cells are zero.

        Planes are channels-last views. Volumes are contiguous: GroupNorm of channels-last ones loses four digits on a
        CPU; few of their cells hold points, so only these are touched.
        """
        grids, items, _, dimensions = self.u.shape
        sides = (self.resolution,) * dimensions
        if self.is_volume:
            held, mean = self._mean_of_few
            return _Placed.apply(mean(c), items, self.per_grid, *held).unflatten(2, sides)
        return self.mean(c).view(grids * items, *sides, c.shape[1]).movedim(-1, 1)

    @property
    def is_volume(self) -> bool:
        return self.u.shape[-1] == 3

    @cached_property
    def mean(self) -> RowMap:
        """From points (B N, C) to the mean over each cell's points (cells, C)."""
        return mean_map(self.bins, self.count)

    @cached_property
    def sample(self) -> RowMap:
        """From cells (cells, C) to multilinear samples at the points, summed over the grids (B N, C)."""
        index, weight = self._mixed
        return _by_rows(index, weight, self.count)

    @cached_property
    def _mixed(self) -> tuple[Tensor, Tensor]:
        """(B N, G 2^D) cells that a sample at each point mixes, and how."""
        index, weight = corners(self.u, self.resolution)
        index = (index + self.first[..., None]).permute(1, 2, 0, 3).flatten(2).flatten(0, 1)
        return index, weight.permute(1, 2, 0, 3).reshape(index.shape)

    @cached_property
    def _mean_of_few(self) -> tuple[tuple[Tensor, Tensor], RowMap]:
        """Item and cell of those that hold points, and the map from the points to them."""
        held, index = self.bins.unique(return_inverse=True)
        return self._apart(held), mean_map(index, len(held))

    @cached_property
    def _sample_of_few(self) -> tuple[tuple[Tensor, Tensor], RowMap]:
        """Item and cell of those that samples read, and the map from them to the points."""
        index, weight = self._mixed
        held, index = index.unique(return_inverse=True)
        return self._apart(held), _by_rows(index, weight, len(held))

    def _apart(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        return cells // self.per_grid, cells % self.per_grid


def _by_rows(index: Tensor, weight: Tensor, count: int) -> RowMap:
    """The map from `count` cells to rows that mix those of `index` (rows, K) by `weight`."""
    rows = torch.arange(len(index), device=index.device)[:, None].expand_as(index)
    return RowMap.of(rows.reshape(-1), index.reshape(-1), weight.reshape(-1), (len(index), count))


class _Columns(torch.autograd.Function):
    """Features (M, C) of single cells of volumes (B, C, cells), no cell twice."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, item: Tensor, cell: Tensor) -> Tensor:
        ctx.save_for_backward(item, cell)
        ctx.shape = volumes.shape
        return volumes.transpose(1, 2)[item, cell]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        item, cell = ctx.saved_tensors
        whole = grad.new_zeros(ctx.shape)
        whole.transpose(1, 2)[item, cell] = grad
        return whole, None, None


class _Placed(torch.autograd.Function):
    """Its transpose: volumes (B, C, cells) that are zero but for single cells."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, items: int, cells: int, item: Tensor, cell: Tensor) -> Tensor:
        ctx.save_for_backward(item, cell)
        whole = rows.new_zeros(items, rows.shape[1], cells)
        whole.transpose(1, 2)[item, cell] = rows
        return whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        item, cell = ctx.saved_tensors
        return grad.transpose(1, 2)[item, cell], None, None, None, None


class Places:
    """Points on grids of any resolution; each resolution is worked out once.

    Args:
        points: (B, N, 3) local.
        kind: of the grids.
        padding: see `unit_coordinates`.
    """

    def __init__(self, points: Tensor, kind: Kind, padding: float = 0.1) -> None:
        self.kind = kind
        self.u = unit_coordinates(points, kind, padding)
        self._found: dict[int, Cells] = {}

    def at(self, resolution: int) -> Cells:
        """The points among the cells of this resolution."""
        if resolution not in self._found:
            self._found[resolution] = Cells(self.u, resolution)
        return self._found[resolution]


def table(pictures: Tensor) -> Tensor:
    """Pictures (n, C, ...) as the table of their cells (cells, C)."""
    return pictures.movedim(1, -1).reshape(-1, pictures.shape[1])
