"""The plane U-Net of Peng et al. 2020, "Convolutional Occupancy Networks", section 3.1; planes share its weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.nets.convolutions import conv_relu, join, pointwise, risen


class Pair(nn.Module):
    """Two 3x3 convolutions, each with ReLU.

    Args:
        before: channels that come in.
        width: channels that go out.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, R, R) to (n, width, R, R)."""
        return conv_relu(conv_relu(x, self.conv1), self.conv2)


class Rise(Pair):
    """A level on the way up: twice the resolution, joined with the level across.

    Args:
        before: channels that come in from below.
        width: channels that go out, and of the skip.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__(2 * width, width)
        self.rise = nn.ConvTranspose2d(before, width, 2, stride=2)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(n, before, R, R) and the skip (n, width, 2 R, 2 R) to (n, width, 2 R, 2 R)."""
        assert skip is not None
        return super().forward(join(risen(x, self.rise), skip))


class UNet(nn.Module):
    """A U-Net with a pooling between any two levels.

    Args:
        width: channels at the top, doubled from level to level.
        levels: number of resolutions; four have three poolings.
    """

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(levels)]
        self.down = nn.ModuleList(Pair(widths[max(n - 1, 0)], widths[n]) for n in range(levels))
        self.up = nn.ModuleList(Rise(widths[n + 1], widths[n]) for n in reversed(range(levels - 1)))
        self.final = nn.Conv2d(width, width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
                if module.kernel_size != (1, 1):  # maps of single cells are products, whose gradients are rows
                    # As pictures are; else each step turns them around.
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, R, R) to the same shape."""
        skips = []
        for number, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if number else x)
            skips.append(x)
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = stage(x, skip)
        return pointwise(x, self.final)
