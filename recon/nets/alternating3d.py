"""The alternating U-Net of Wang et al. 2023, "ALTO", in a volume: as `recon.nets.alternating`, with normalisation.

Three things differ, as in the authors' program: skips come first where they are joined, pooling is at the start of a
stage rather than at the end of the one before, and what goes up is copied to its eight children without weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.nets.alternating import Exchange
from recon.nets.grids import Places
from recon.nets.unet3d import DoubleConv


class Down3d(nn.Module):
    """A stage on the way down.

    Args:
        before: channels that come in.
        width: channels that go out.
        first: there is no dense volume yet to add.
        halves: whether the resolution does.
    """

    def __init__(self, before: int, width: int, first: bool, halves: bool) -> None:
        super().__init__()
        self.convs = DoubleConv(before, width, down=True)
        self.residual = None if first else nn.Conv3d(before, width, 1)
        self.exchange = Exchange(width, before)
        self.halves = halves

    def forward(self, sparse: Tensor, dense: Tensor | None, c: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
        """The sparse volume, the last stage's dense one and point features to the same of this stage."""
        grid = self.convs(F.max_pool3d(sparse, 2) if self.halves else sparse)
        if self.residual is not None and dense is not None:
            grid = grid + self.residual(F.max_pool3d(dense, 2) if self.halves else dense)
        sparse, c = self.exchange(grid, c, places)
        return sparse, grid, c


class Up3d(nn.Module):
    """A stage on the way up.

    Args:
        before: channels that come in from below.
        width: channels that go out, and of the skip.
        doubles: whether the resolution does, too.
        last: there is no way back to the points.
    """

    def __init__(self, before: int, width: int, doubles: bool, last: bool) -> None:
        super().__init__()
        self.convs = DoubleConv(before + width, width, down=False)
        self.residual = nn.Conv3d(before, width, 1)
        self.exchange = None if last else Exchange(width, before)
        self.doubles = doubles

    def forward(
        self, sparse: Tensor, dense: Tensor, c: Tensor, skip: Tensor, places: Places
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Down3d.forward`, with the sparse volume of the stage across."""
        # A 1x1x1 convolution before copying is the same as after, at an eighth of the cost.
        added = self.residual(dense)
        if self.doubles:
            grid = self.convs.joined(skip, sparse) + F.interpolate(added, scale_factor=2.0)
        else:
            grid = self.convs(torch.cat([skip, sparse], dim=1)) + added
        if self.exchange is None:
            return grid, grid, c
        sparse, c = self.exchange(grid, c, places)
        return sparse, grid, c


class AlternatingUNet3d(nn.Module):
    """ALTO's U-Net in a volume; stages and poolings as in `AlternatingUNet`.

    Args:
        width: channels at the top, doubled from stage to stage.
        levels: stages on the way down.
    """

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(levels)]
        self.down = nn.ModuleList(
            Down3d(widths[max(n - 1, 0)], widths[n], first=n == 0, halves=n > 1) for n in range(levels)
        )
        self.up = nn.ModuleList(
            Up3d(widths[n + 1], widths[n], doubles=n > 0, last=n == 0) for n in reversed(range(levels - 1))
        )
        self.final = nn.Conv3d(width, width, 1)

    def forward(self, sparse: Tensor, c: Tensor, places: Places) -> Tensor:
        """A sparse volume (B, width, R, R, R) and point features (B N, width) to a volume of the same shape."""
        dense, skips = None, []
        for stage in self.down:
            sparse, dense, c = stage(sparse, dense, c, places)
            skips.append(sparse)
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            sparse, dense, c = stage(sparse, dense, c, skip, places)
        return self.final(sparse)
