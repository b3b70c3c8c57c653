"""The volume U-Net of "Convolutional Occupancy Networks" (after Wolny's pytorch-3dunet), and its double convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8


class NormConv(nn.Module):
    """Group normalisation of the input, a convolution without bias, ReLU.

    Args:
        before: channels that come in, in groups of an eighth; fewer than eight are one group.
        width: channels that go out.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS if before >= GROUPS else 1, before)
        self.conv = nn.Conv3d(before, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, D, H, W) to (B, width, D, H, W)."""
        return F.relu(self.conv(self.norm(x)), inplace=True)


class DoubleConv(nn.Sequential):
    """Two of them.

    Args:
        before: channels that come in.
        width: channels that go out.
        down: on the way down the first goes halfway, on the way up it goes all the way.
    """

    def __init__(self, before: int, width: int, down: bool) -> None:
        middle = max(width // 2, before) if down else width
        super().__init__(NormConv(before, middle), NormConv(middle, width))


class UNet3d(nn.Module):
    """A U-Net with a pooling between any two levels.

    Args:
        width: channels at the top, doubled from level to level.
        levels: number of resolutions.
    """

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(levels)]
        self.down = nn.ModuleList(DoubleConv(widths[max(n - 1, 0)], widths[n], down=True) for n in range(levels))
        self.up = nn.ModuleList(
            DoubleConv(widths[n + 1] + widths[n], widths[n], down=False) for n in reversed(range(levels - 1))
        )
        self.final = nn.Conv3d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, R, R, R) to the same shape."""
        skips = []
        for number, stage in enumerate(self.down):
            x = stage(F.max_pool3d(x, 2) if number else x)
            skips.append(x)
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = stage(torch.cat([skip, F.interpolate(x, scale_factor=2.0)], dim=1))
        return self.final(x)
