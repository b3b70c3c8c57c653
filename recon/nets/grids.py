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
from typing import Literal

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

    @cached_property
    def mean(self) -> RowMap:
        """From points (B N, C) to the mean over each cell's points (cells, C)."""
        return mean_map(self.bins, self.count)

    @cached_property
    def sample(self) -> RowMap:
        """From cells (cells, C) to multilinear samples at the points, summed over the grids (B N, C)."""
        index, weight = corners(self.u, self.resolution)
        index = (index + self.first[..., None]).permute(1, 2, 0, 3).flatten(2).flatten(0, 1)
        weight = weight.permute(1, 2, 0, 3).flatten()
        rows = torch.arange(len(index), device=index.device)[:, None].expand_as(index)
        return RowMap.of(rows.reshape(-1), index.reshape(-1), weight, (len(index), self.count))


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

    def pictures(self, rows: Tensor, resolution: int) -> Tensor:
        """A table of cells (cells, C) as (G B, C, R, R), a channels-last view, or as (B, C, R, R, R), contiguous."""
        sides = (resolution,) * self.u.shape[-1]
        grids = rows.view(self.u.shape[0] * self.u.shape[1], *sides, rows.shape[1]).movedim(-1, 1)
        # GroupNorm of channels-last volumes loses four digits on a CPU.
        return grids.contiguous() if self.kind == "volume" else grids


def table(pictures: Tensor) -> Tensor:
    """Pictures (n, C, ...) as the table of their cells (cells, C)."""
    return pictures.movedim(1, -1).reshape(-1, pictures.shape[1])
