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

    def joined(self, skip: Tensor, below: Tensor) -> Tensor:
        """The same of (B, C, R, R, R) joined with (B, before - C, R/2, R/2, R/2), each cell of which has 8 children.

        The eight children of a cell are equal, so their statistics are their parent's, and a 3x3x3 convolution sees
        at most 2x2x2 different parents, others for each child: 8/27 of the products, and nothing is copied.
        """
        scale, shift = self._affine(skip, below)
        split = skip.shape[1]
        near = F.conv3d(torch.addcmul(shift[:, :split], skip, scale[:, :split]), self.conv.weight[:, :split], padding=1)
        parents = torch.addcmul(shift[:, split:], below, scale[:, split:])
        made = F.conv3d(parents, _by_child(self.conv.weight[:, split:]), padding=1)
        return F.relu(near + _children(made, below.shape[-1]), inplace=True)

    def _affine(self, skip: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """(B, before, 1, 1, 1) scale and shift of the group normalisation of both."""
        moments = [torch.var_mean(part, dim=(2, 3, 4), correction=0) for part in (skip, below)]
        var, mean = (
            torch.cat(parts, dim=1).unflatten(1, (self.norm.num_groups, -1)) for parts in zip(*moments, strict=True)
        )
        middle = mean.mean(dim=2, keepdim=True)
        spread = (var + (mean - middle) ** 2).mean(dim=2, keepdim=True)
        scale = (spread + self.norm.eps).rsqrt().expand_as(mean).flatten(1) * self.norm.weight
        shift = self.norm.bias - middle.expand_as(mean).flatten(1) * scale
        return scale[..., None, None, None], shift[..., None, None, None]


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

    def joined(self, skip: Tensor, below: Tensor) -> Tensor:
        """Of a skip and what comes from below at half its resolution (see `NormConv.joined`)."""
        first, second = self
        assert isinstance(first, NormConv)
        return second(first.joined(skip, below))


def _by_child(weight: Tensor) -> Tensor:
    """A kernel (O, I, 3, 3, 3) of children as those of parents, one for each child: (8 O, I, 2, 2, 2).

    Along an axis the first child sees the parent before, and its own twice; the second its own twice, and the next.
    """
    sums = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    kernels = torch.einsum("pak,qbl,rcm,oiklm->pqroiabc", sums, sums, sums, weight)
    return kernels.flatten(4).reshape(-1, weight.shape[1], 2, 2, 2)


def _children(made: Tensor, side: int) -> Tensor:
    """What each child's kernel made of parents padded by one, (B, 8 O, n + 1, ...), in its place: (B, O, 2 n, ...)."""
    parts = made.unflatten(1, (2, 2, 2, -1))
    corners = [(p, q, r) for p in (0, 1) for q in (0, 1) for r in (0, 1)]
    placed = [parts[:, p, q, r, :, p : p + side, q : q + side, r : r + side] for p, q, r in corners]
    cubes = torch.stack(placed, dim=-1).unflatten(-1, (2, 2, 2))
    return cubes.permute(0, 1, 2, 5, 3, 6, 4, 7).reshape(*cubes.shape[:2], *[2 * side] * 3)


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
            assert isinstance(stage, DoubleConv)
            x = stage.joined(skip, x)
        return self.final(x)
