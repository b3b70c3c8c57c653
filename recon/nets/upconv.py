"""Doubling a voxel grid and convolving it, in one strided transposed convolution.

The convolution never sees the doubled grid: of its 27 products a voxel, 8 remain after nearest upsampling (equal
factors are added up in the kernel) and 27 / 8 after the insertion of zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.nets.r2n2_layout import Upsampling


class UpConv3d(nn.Conv3d):
    """``conv3d(upsample(x), kernel 3, padding 1)`` with that convolution's own weight and bias.

    Args:
        in_channels: of the coarse grid.
        out_channels: of the fine grid.
        upsampling: ``"nearest"``, or ``"zeros"``: the value at even indices, zeros elsewhere.
    """

    fold: Tensor

    def __init__(self, in_channels: int, out_channels: int, upsampling: Upsampling) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.upsampling = upsampling
        self.register_buffer("fold", _fold(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) to (B, O, 2D, 2H, 2W)."""
        if self.upsampling == "zeros":
            kernel, odd = self.weight.flip(2, 3, 4), 1
        else:
            kernel, odd = (self.weight.flatten(2) @ self.fold).unflatten(2, (4, 4, 4)), 0
        y = F.conv_transpose3d(x, kernel.transpose(0, 1), stride=2, padding=1, output_padding=odd)
        assert self.bias is not None
        # Apart, for the library's own gradient of this bias takes as long as a quarter of the convolution.
        return y.add_(self.bias.to(y.dtype)[:, None, None, None])


def upsample(x: Tensor, upsampling: Upsampling) -> Tensor:
    """(B, C, D, H, W) to (B, C, 2D, 2H, 2W), without a convolution."""
    if upsampling == "nearest":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    b, c, d, h, w = x.shape
    fine = x.new_zeros(b, c, d, 2, h, 2, w, 2)
    fine[:, :, :, 0, :, 0, :, 0] = x
    return fine.view(b, c, 2 * d, 2 * h, 2 * w)


def _fold() -> Tensor:
    """(27, 64): a kernel of 3^3 to that of 4^3 which does the same to the coarse grid, transposed.

    Along an axis, tap k of the fine grid falls on the coarse voxel at tap 2 - k or 3 - k, by the voxel's parity.
    """
    axis = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    return torch.einsum("at,bu,cv->abctuv", axis, axis, axis).reshape(27, 64)
