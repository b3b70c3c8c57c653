"""Losses on the gradient of a distance field."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from recon.losses.points import Reduction, reduce


def eikonal(gradient: Tensor, power: Literal[1, 2] = 2, reduction: Reduction = "mean") -> Tensor:
    """``| |g| - 1 |^power``: a distance field has unit gradient (Gropp et al. 2020, eq. 2).

    Args:
        gradient: (..., d).
        power: 2 in IGR, 1 in SIREN.
        reduction: over all leading dimensions.
    """
    error = gradient.norm(dim=-1) - 1
    return reduce(error.square() if power == 2 else error.abs(), reduction)


def normal_error(
    gradient: Tensor, normal: Tensor, kind: Literal["l2", "cosine"] = "l2", reduction: Reduction = "mean"
) -> Tensor:
    """How far the gradient is from the outward normal.

    Args:
        gradient: (..., d), on the surface.
        normal: (..., d) unit.
        kind: ``"l2"``: ``|g - n|``, not squared (IGR's code); ``"cosine"``: ``1 - cos(g, n)`` (SIREN, eq. 6).
        reduction: over all leading dimensions.
    """
    if kind == "l2":
        return reduce((gradient - normal).norm(dim=-1), reduction)
    return reduce(1 - torch.cosine_similarity(gradient, normal, dim=-1), reduction)
