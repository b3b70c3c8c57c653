"""The frequency encoding of positions and directions (Mildenhall et al. 2020, eq. 4), without their factor pi."""

from __future__ import annotations

import torch
from torch import Tensor


def encoded_width(dimensions: int, frequencies: int) -> int:
    """Length of the encoding of a vector."""
    return dimensions * (1 + 2 * frequencies)


def encode(x: Tensor, frequencies: int) -> Tensor:
    """``[x, sin(x), cos(x), sin(2 x), cos(2 x), sin(4 x), ...]``, (..., d) to (..., d (1 + 2 frequencies))."""
    waves = [wave for k in range(frequencies) for angle in (2**k * x,) for wave in (angle.sin(), angle.cos())]
    return torch.cat([x, *waves], dim=-1)


def pull_back(encoding: Tensor, gradient: Tensor, frequencies: int) -> Tensor:
    """A gradient by the encoding as one by what was encoded.

    The encoding holds its own derivatives: that of each sine is the cosine beside it, and the other way round.

    Args:
        encoding: (N, d (1 + 2 frequencies)), what `encode` gave.
        gradient: of the same size.
        frequencies: as given to `encode`.

    Returns:
        (N, d).
    """
    dimensions = encoding.shape[-1] // (1 + 2 * frequencies)
    waves = encoding[:, dimensions:].unflatten(1, (frequencies, 2, dimensions))
    slopes = gradient[:, dimensions:].unflatten(1, (frequencies, 2, dimensions))
    turned = slopes[:, :, 0] * waves[:, :, 1] - slopes[:, :, 1] * waves[:, :, 0]
    factors = 2.0 ** torch.arange(frequencies, dtype=encoding.dtype, device=encoding.device)
    return gradient[:, :dimensions] + torch.einsum("nkd,k->nd", turned, factors)
