"""The alternating U-Net of Wang et al. 2023, "ALTO: Alternating Latent Topologies", section 3, on three planes.

Each stage convolves the planes, reads them at the input points, mixes what it reads into the points' own features, and
writes those back as means over cells. The three planes share all weights and are one batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.nets.convolutions import add, conv_relu, join, pointwise, risen
from recon.nets.grids import Cells, Places, table


class Exchange(nn.Module):
    """From grids to points and back.

    Args:
        width: channels of the grids.
        before: channels of the points' features so far.
    """

    def __init__(self, width: int, before: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, 2 * width)
        self.out = nn.Linear(2 * width, width)
        self.carry = nn.Linear(before, width)

    def forward(self, grids: Tensor, c: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """Grids (n, width, R, ...) and features (B N, before) to sparse grids and features (B N, width)."""
        cells = places.at(grids.shape[-1])
        c = self.out(self._hidden(grids, cells)) + self.carry(c)
        return cells.write(c), c

    def _hidden(self, grids: Tensor, cells: Cells) -> Tensor:
        """What the first layer makes of the grids read at the points: (B N, 2 width)."""
        if cells.is_volume or cells.count >= cells.points:
            return F.relu(self.hidden(cells.read(grids)), inplace=True)
        # Reading and the layer are both linear, and there are fewer cells than points.
        projected = F.linear(table(grids), self.hidden.weight)
        return F.relu(cells.sample(projected) + self.hidden.bias, inplace=True)


class Down(nn.Module):
    """A stage on the way down.

    Args:
        before: channels that come in.
        width: channels that go out.
        first: there are no dense planes yet to add.
    """

    def __init__(self, before: int, width: int, first: bool) -> None:
        super().__init__()
        self.conv1 = _conv(before, width)
        self.conv2 = _conv(width, width)
        self.residual = None if first else nn.Conv2d(before, width, 1)
        self.exchange = Exchange(width, before)

    def forward(self, sparse: Tensor, dense: Tensor | None, c: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
        """Sparse planes, the last stage's dense ones and point features to the same of this stage."""
        planes = conv_relu(conv_relu(sparse, self.conv1), self.conv2)
        if self.residual is not None and dense is not None:
            if dense.shape[-1] != sparse.shape[-1]:
                dense = F.max_pool2d(dense, 2)
            planes = planes + pointwise(dense, self.residual)
        sparse, c = self.exchange(planes, c, places)
        return sparse, planes, c


class Up(nn.Module):
    """A stage on the way up.

    Args:
        before: channels that come in from below.
        width: channels that go out, and of the skip.
        doubles: whether the resolution does, too.
        last: there is no way back to the points.
    """

    def __init__(self, before: int, width: int, doubles: bool, last: bool) -> None:
        super().__init__()
        self.rise = _rise(before, width, doubles)
        self.residual = _rise(before, width, doubles)
        self.conv1 = _conv(2 * width, width)
        self.conv2 = _conv(width, width)
        self.exchange = None if last else Exchange(width, before)

    def forward(
        self, sparse: Tensor, dense: Tensor, c: Tensor, skip: Tensor, places: Places
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Down.forward`, with the sparse planes of the stage across."""
        both = join(risen(sparse, self.rise), skip)
        planes = add(conv_relu(conv_relu(both, self.conv1), self.conv2), risen(dense, self.residual))
        if self.exchange is None:
            return planes, planes, c
        sparse, c = self.exchange(planes, c, places)
        return sparse, planes, c


class AlternatingUNet(nn.Module):
    """ALTO's U-Net on planes.

    The finest resolution serves two stages on each side, so `levels` stages have ``levels - 2`` poolings.

    Args:
        width: channels at the top, doubled from stage to stage.
        levels: stages on the way down.
    """

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(levels)]
        self.down = nn.ModuleList(Down(widths[max(n - 1, 0)], widths[n], first=n == 0) for n in range(levels))
        self.up = nn.ModuleList(
            Up(widths[n + 1], widths[n], doubles=n > 0, last=n == 0) for n in reversed(range(levels - 1))
        )
        self.final = nn.Conv2d(width, width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
                if module.kernel_size != (1, 1):  # maps of single cells are products, whose gradients are rows
                    # As pictures are; else each step turns them around.
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it

    def forward(self, sparse: Tensor, c: Tensor, places: Places) -> Tensor:
        """Sparse planes (3 B, width, R, R) and point features (B N, width) to planes of the same shape."""
        dense, skips = None, []
        for number, stage in enumerate(self.down):
            sparse, dense, c = stage(sparse, dense, c, places)
            skips.append(sparse)
            if 0 < number < len(self.down) - 1:
                sparse = F.max_pool2d(sparse, 2)
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            sparse, dense, c = stage(sparse, dense, c, skip, places)
        return pointwise(sparse, self.final)


def poolings(levels: int) -> int:
    """How often an alternating U-Net halves its resolution."""
    return max(levels - 2, 0)


def _conv(before: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, padding=1)


def _rise(before: int, width: int, doubles: bool) -> nn.Conv2d | nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, width, 2, stride=2) if doubles else nn.Conv2d(before, width, 1)
