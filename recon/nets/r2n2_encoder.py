"""The image encoders of 3D-R2N2: plain, and with residual blocks (spec of the authors' ``res_gru_net``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.errors import ConfigError
from recon.nets.r2n2_layout import SLOPE, Layout, sides_pooled_to

Skip = Literal["none", "convolution", "identity"]
SKIPS: tuple[Skip, ...] = ("none", "convolution", "convolution", "none", "convolution", "identity")
"""What goes around the residual blocks; further ones have the identity."""


class PlainBlock(nn.Module):
    """Convolution, pooling and leaky ReLU.

    Bias and activation grow with their input, so that pooling first gives the same, and leaves a quarter to do.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.conv2d(x, self.a.weight, padding=self.a.padding), 2, 2, self.padding)
        assert self.a.bias is not None
        return F.leaky_relu_(y.add_(self.a.bias.to(y.dtype)[:, None, None]), SLOPE)


class ResidualBlock(nn.Module):
    """Two convolutions, what goes around them, and pooling; nothing is activated after the sum."""

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int, skip: Skip) -> None:
        super().__init__()
        if skip == "identity" and inputs != outputs:
            raise ConfigError(
                f"A residual block of the encoder takes {inputs} channels and gives {outputs}, but adds its input.",
                "Give the last two encoder widths the same value.",
            )
        self.a = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.around = nn.Conv2d(inputs, outputs, 1) if skip == "convolution" else None
        self.skip, self.padding = skip, padding

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu_(self.b(F.leaky_relu_(self.a(x), SLOPE)), SLOPE)
        if self.skip != "none":
            y = y + (x if self.around is None else self.around(x))
        return F.max_pool2d(y, 2, 2, self.padding)


class Encoder(nn.Module):
    """Images to feature vectors.

    Args:
        layout: the family's.
        widths: channels of the blocks; each halves the image's side.
        feature: length of the vector.
        image: side of the images the last layer is made for.
        residual: which blocks.

    Raises:
        ConfigError: if an image is too small for that many blocks.
    """

    def __init__(self, layout: Layout, widths: Sequence[int], feature: int, image: int, residual: bool) -> None:
        super().__init__()
        self.layout, self.side = layout, layout.pooled(image, len(widths))
        if self.side < 1:
            raise ConfigError(
                f"Of images of {image} x {image} pixels nothing is left after {len(widths)} poolings.",
                f"Give images of {2 ** len(widths)} pixels or more.",
            )
        self.blocks = nn.ModuleList()
        for n, (inputs, outputs) in enumerate(zip([3, *widths], widths, strict=False)):
            kernel = 3 if n else 7
            if residual:
                skip = SKIPS[n] if n < len(SKIPS) else "identity"
                self.blocks.append(ResidualBlock(inputs, outputs, kernel, layout.padding, skip))
            else:
                self.blocks.append(PlainBlock(inputs, outputs, kernel, layout.padding))
        self.fc = nn.Linear(widths[-1] * self.side**2, feature)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, feature).

        Raises:
            ConfigError: if images of this size do not fit the last layer.
        """
        sides = [self.layout.pooled(side, len(self.blocks)) for side in images.shape[-2:]]
        if sides != [self.side, self.side]:
            fit = sides_pooled_to(self.layout, self.side, len(self.blocks))
            raise ConfigError(
                f"Images of {images.shape[-1]} x {images.shape[-2]} pixels do not fit this network.",
                f"Give sides of {fit[0]} to {fit[-1]} pixels, or another method.image.",
            )
        x = images.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        return F.leaky_relu_(self.fc(x.flatten(1)), SLOPE)
