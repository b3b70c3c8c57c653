"""Convolutions of channels-last pictures, arranged so that a CPU spends its time in products.

Maps of single cells (1x1, and 2x2 with stride 2 on the way up) are products of the table of cells, which is a view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_relu(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``relu(conv(x))`` in one tensor."""
    return F.relu(conv(x), inplace=True)


def pointwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 1x1 convolution of (n, I, H, W) to (n, O, H, W)."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


def risen(x: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """What `conv` makes of (n, I, H, W) on the way up, as (n, s H, s W, O) that is not moved in memory yet.

    Returns:
        (n, H, s, W, s, O) with s = 2 for a transposed convolution, 1 for a 1x1 one.
    """
    rows = x.permute(0, 2, 3, 1)
    if isinstance(conv, nn.Conv2d):
        return F.linear(rows, conv.weight.flatten(1), conv.bias)[:, :, None, :, None]
    assert conv.bias is not None
    inputs, outputs = conv.weight.shape[:2]
    weight = conv.weight.permute(2, 3, 1, 0).reshape(4 * outputs, inputs)
    made = F.linear(rows, weight, conv.bias.repeat(4))
    return made.view(*rows.shape[:3], 2, 2, outputs).permute(0, 1, 3, 2, 4, 5)


def join(up: Tensor, skip: Tensor) -> Tensor:
    """`risen` features and a picture (n, C, s H, s W) side by side: (n, O + C, s H, s W)."""
    across = skip.permute(0, 2, 3, 1).reshape(*up.shape[:5], -1)
    return _picture(torch.cat([up, across], dim=5))


def add(x: Tensor, up: Tensor) -> Tensor:
    """A picture (n, O, s H, s W) plus `risen` features."""
    return _picture(x.permute(0, 2, 3, 1).view(up.shape) + up)


def _picture(blocks: Tensor) -> Tensor:
    return blocks.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
