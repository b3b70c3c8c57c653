"""The decoders of 3D-R2N2: a grid of cells doubled until it has the wanted resolution, plain or residual."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.errors import ConfigError
from recon.nets.r2n2_layout import SLOPE, Layout, Upsampling
from recon.nets.upconv import UpConv3d, upsample


class PlainStage(nn.Module):
    """A convolution, of the doubled grid if `upsampling` says how, and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, upsampling: Upsampling | None) -> None:
        super().__init__()
        self.a = UpConv3d(inputs, outputs, upsampling) if upsampling else nn.Conv3d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(self.a(x), SLOPE)


class ResidualUpStage(nn.Module):
    """``u + act(b(act(a(u))))`` of the doubled grid u, which a convolution of 1^3 goes around if channels change."""

    def __init__(self, inputs: int, outputs: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.a = UpConv3d(inputs, outputs, upsampling)
        self.b = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.around = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else None
        self.upsampling = upsampling

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu_(self.b(F.leaky_relu_(self.a(x), SLOPE)), SLOPE)
        if self.around is None:
            return y + upsample(x, self.upsampling)
        # A convolution of 1^3 before doubling is one after it, but for the bias of inserted voxels.
        assert self.around.bias is not None
        around = upsample(F.conv3d(x, self.around.weight), self.upsampling)
        return y + around + self.around.bias[:, None, None, None]


class ResidualLastStage(nn.Module):
    """``q = act(a(x))``, then ``around(q) + act(b(q))``: what goes around starts behind the first convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.a = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.b = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.around = nn.Conv3d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        q = F.leaky_relu_(self.a(x), SLOPE)
        return self.around(q) + F.leaky_relu_(self.b(q), SLOPE)


class Decoder(nn.Module):
    """A grid of cells to logits of empty and occupied.

    Args:
        layout: the family's.
        hidden: channels of the cells.
        widths: channels of the stages; all but the last double the grid's side.
        stages: how many times it is doubled.
        residual: which stages.

    Raises:
        ConfigError: if there are not as many widths as stages and one.
    """

    def __init__(self, layout: Layout, hidden: int, widths: Sequence[int], stages: int, residual: bool) -> None:
        super().__init__()
        if len(widths) != stages + 1:
            raise ConfigError(
                f"A decoder that doubles its grid {stages} times has {stages + 1} layers before the last, "
                f"not {len(widths)}.",
                f"Give method.decoder {stages + 1} widths.",
            )
        inputs = [hidden, *widths]
        self.stages = nn.ModuleList()
        for n in range(stages):
            stage = ResidualUpStage if residual else PlainStage
            self.stages.append(stage(inputs[n], inputs[n + 1], layout.upsampling))
        last = inputs[-2], inputs[-1]
        self.stages.append(ResidualLastStage(*last) if residual else PlainStage(*last, None))
        self.output = nn.Conv3d(widths[-1], 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, hidden, g, g, g) to (N, 2, D, H, W): channel 0 is empty, channel 1 occupied."""
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last_3d)
        for stage in self.stages:
            x = stage(x)
        return self.output(x)
