"""The point encoder of Peng et al. 2020, "Convolutional Occupancy Networks", section 3.1: a local PointNet.

Between its blocks each point learns the maximum of its cell, on every plane or in the volume.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.geometry.scatter import bin_max
from recon.nets.grids import Cells


class ResidualBlock(nn.Module):
    """``shortcut(x) + second(relu(first(relu(x))))``; the second layer starts at zero.

    Args:
        inputs: channels.
        outputs: channels; if other than the inputs, the shortcut is a linear map without bias.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)
        self.shortcut = nn.Linear(inputs, outputs, bias=False) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return self.shortcut(x) + self.second(F.relu(self.first(F.relu(x)), inplace=True))


class LocalPointNet(nn.Module):
    """Features of points that know their neighbourhood.

    Args:
        width: channels of the features.
        hidden: channels inside.
        blocks: number of residual blocks.
    """

    def __init__(self, width: int, hidden: int, blocks: int = 5) -> None:
        super().__init__()
        self.lift = nn.Linear(3, 2 * hidden)
        self.blocks = nn.ModuleList(ResidualBlock(2 * hidden, hidden) for _ in range(blocks))
        self.out = nn.Linear(hidden, width)

    def forward(self, points: Tensor, cells: Cells) -> Tensor:
        """Features of each point.

        Args:
            points: (B, N, 3) local.
            cells: of the same points, in which to pool.

        Returns:
            (B N, width).
        """
        x = self.blocks[0](self.lift(points.flatten(0, 1)))
        index, count = cells.neighbourhoods
        grids = len(cells.bins)
        for block in self.blocks[1:]:
            pooled = bin_max(x.repeat(grids, 1), index, count).view(grids, *x.shape).sum(dim=0)
            x = block(torch.cat([x, pooled], dim=1))
        return self.out(x)
