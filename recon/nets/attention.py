"""What turns grids into occupancy at a query: ALTO's attention over the nearest cells, and plain interpolation.

Wang et al. 2023, "ALTO: Alternating Latent Topologies", section 3.3: the feature read at the query asks, the 3x3
(3x3x3) cells about it answer, and each channel weighs the answers by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.geometry.scatter import RowMap
from recon.nets.grids import Cells, Kind, corners, unit_coordinates
from recon.nets.local_attention import Weights, attend, attend_plainly
from recon.nets.pointnet import ResidualBlock

Layout = Literal["aligned", "legacy"]


class Stacked(nn.Module):
    """A linear map for each grid.

    Args:
        grids: how many.
        inputs: channels.
        outputs: channels.
        bias: whether to add one.
    """

    def __init__(self, grids: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as nn.Linear draws
        self.weight = nn.Parameter(torch.empty(grids, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(grids, 1, outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(G, M, inputs) to (G, M, outputs)."""
        weight = self.weight.transpose(1, 2)
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias, x, weight)


@dataclass(frozen=True)
class Answers:
    """What cells say, worked out once for all queries.

    Attributes:
        read: (G, M, H) what a query asks if it is in the middle of the cell; interpolates like the features.
        told: (G M, 2 H) keys and values.
    """

    read: Tensor
    told: Tensor


class Head(nn.Module):
    """Residual blocks, each told the features anew.

    Args:
        inputs: channels of the features.
        width: channels inside.
        blocks: number of blocks.
    """

    def __init__(self, inputs: int, width: int, blocks: int = 5) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Linear(inputs, width) for _ in range(blocks))
        self.blocks = nn.ModuleList(ResidualBlock(width, width) for _ in range(blocks))
        self.out = nn.Linear(width, 1)

    def forward(self, features: Tensor, start: Tensor | None = None) -> Tensor:
        """(M, inputs) to (M,) logits, beginning at `start` (M, width), or at zero."""
        for mix, block in zip(self.mix, self.blocks, strict=True):
            told = mix(features)
            start = block(told if start is None else start + told)
        assert start is not None
        return self.out(F.relu(start)).squeeze(-1)


class AttentionDecoder(nn.Module):
    """ALTO's decoder.

    Args:
        kind: of the grids.
        width: channels of the grids.
        hidden: channels of one head.
        heads: how many; they share the weights of the attention.
        padding: of the box.
        layout: where keys and values are looked up. ``"aligned"``: at the cells about the query. ``"legacy"``: at the
            cells with coordinates in reverse order, as the authors' program does, whose weights expect it.
    """

    def __init__(
        self, kind: Kind, width: int, hidden: int, heads: int = 1, padding: float = 0.1, layout: Layout = "aligned"
    ) -> None:
        super().__init__()
        self.kind, self.heads, self.padding, self.layout = kind, heads, padding, layout
        self.grids, self.dimensions = (3, 2) if kind == "triplane" else (1, 3)
        total = hidden * heads
        self.query = Stacked(self.grids, width, total)
        self.key = Stacked(self.grids, width, total)
        self.value = Stacked(self.grids, width, total)
        self.offset = nn.ModuleList([Stacked(self.grids, self.dimensions, total), Stacked(self.grids, total, total)])
        # No bias at the end: a softmax does not see it.
        self.attention = nn.ModuleList(
            [Stacked(self.grids, hidden, 4 * hidden), Stacked(self.grids, 4 * hidden, hidden, bias=False)]
        )
        self.head = Head(self.grids * total, total)

    def prepare(self, cells: Tensor) -> Answers:
        """Queries, keys and values of all cells (G, M, width)."""
        return Answers(self.query(cells), self.tell(cells))

    def forward(self, cells: Tensor, queries: Tensor, resolution: int, answers: Answers | None = None) -> Tensor:
        """Logits.

        Args:
            cells: (G, B R^D, width) features.
            queries: (B, Q, 3) local.
            resolution: R.
            answers: of `prepare`, if at hand.

        Returns:
            (B, Q).
        """
        u = unit_coordinates(queries, self.kind, self.padding)
        if answers is None:
            asked = self.query(self._read(cells, u, resolution))
            told = self.tell(cells)
        else:
            asked, told = self._read(answers.read, u, resolution), answers.told
        index, offsets = self._neighbours(u, resolution)
        by_hand = asked.device.type == "cpu" and not torch.compiler.is_compiling()
        features = (attend if by_hand else attend_plainly)(asked, told, index, offsets, self._weights())
        return self.head(features.transpose(0, 1).flatten(1)).view(queries.shape[:2])

    def tell(self, cells: Tensor) -> Tensor:
        """Keys and values of (G, M, width) cells: (G M, 2 H)."""
        weight = torch.cat([self.key.weight, self.value.weight], dim=1)
        assert self.key.bias is not None
        assert self.value.bias is not None
        bias = torch.cat([self.key.bias, self.value.bias], dim=2)
        return torch.baddbmm(bias, cells, weight.transpose(1, 2)).flatten(0, 1)

    def _weights(self) -> Weights:
        (first, second), (mix, score) = self.offset, self.attention
        parts = (first.weight, first.bias, second.weight, second.bias, mix.weight, mix.bias, score.weight)
        return Weights(*parts)  # type: ignore[arg-type] # torch types a ModuleList by nn.Module

    def _read(self, cells: Tensor, u: Tensor, resolution: int) -> Tensor:
        """Multilinear samples of (G, B R^D, C) at (G, B, Q, D), grid by grid: (G, B Q, C)."""
        index, weight = corners(u, resolution)
        index = index + _first(u, resolution)[..., None]
        count = index.shape[:3].numel()
        rows = torch.arange(count, device=u.device)[:, None].expand(-1, index.shape[-1])
        sample = RowMap.of(rows.reshape(-1), index.flatten(), weight.flatten(), (count, cells.shape[:2].numel()))
        return sample(cells.flatten(0, 1)).view(len(cells), -1, cells.shape[-1])

    def _neighbours(self, u: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
        """The cells about (G, B, Q, D) and how far the queries lie from them, in cells: (G, B Q, K), (G, B Q, K, D)."""
        place = (u * (resolution - 1)).flatten(1, 2)
        steps = torch.tensor([-1, 0, 1], device=u.device)
        moves = torch.cartesian_prod(*[steps] * self.dimensions).flip(-1)  # the first coordinate runs fastest
        near = (place.round().long()[:, :, None] + moves).clamp(0, resolution - 1)
        digits = range(self.dimensions) if self.layout == "aligned" else reversed(range(self.dimensions))
        scale = torch.tensor([resolution**n for n in digits], device=u.device)
        first = _first(u, resolution).expand(u.shape[:-1]).flatten(1)
        return (near * scale).sum(-1) + first[..., None], place[:, :, None] - near


class InterpolatingDecoder(nn.Module):
    """The decoder of Peng et al. 2020: features interpolated at the query and summed over the grids, and its position.

    Args:
        kind: of the grids.
        width: channels of the grids.
        hidden: channels inside.
        padding: of the box.
    """

    def __init__(self, kind: Kind, width: int, hidden: int, padding: float = 0.1) -> None:
        super().__init__()
        self.kind, self.padding = kind, padding
        self.position = nn.Linear(3, hidden)
        self.head = Head(width, hidden)

    def forward(self, cells: Tensor, queries: Tensor, resolution: int, answers: Answers | None = None) -> Tensor:
        """As `AttentionDecoder.forward`; there is nothing to prepare."""
        sample = Cells(unit_coordinates(queries, self.kind, self.padding), resolution).sample
        features = sample(cells.flatten(0, 1))
        return self.head(features, self.position(queries.flatten(0, 1))).view(queries.shape[:2])


def _first(u: Tensor, resolution: int) -> Tensor:
    """(G, B, 1) the first cell of each item's grids among those of all."""
    grids, items, _, dimensions = u.shape
    size = resolution**dimensions
    return torch.arange(0, grids * items * size, size, device=u.device).view(grids, items, 1)
