"""The loss of networks that call every voxel empty or occupied."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def voxel_cross_entropy(logits: Tensor, occupied: Tensor) -> Tensor:
    """Mean cross entropy over all voxels (Choy et al. 2016, eq. 13, which sums; reported losses are means).

    Args:
        logits: (B, 2, D, H, W): of empty and of occupied.
        occupied: (B, D, H, W) in {0, 1}, of any type.

    Returns:
        A scalar.
    """
    # Of two classes only the difference of the logits counts: log(1 + e^d) costs a third of a softmax's passes.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a mean of many in half precision is none
    difference = logits[:, 1] - logits[:, 0]
    return F.binary_cross_entropy_with_logits(difference, occupied.to(difference.dtype))


def occupancy(logits: Tensor) -> Tensor:
    """(B, 2, D, H, W) logits to (B, D, H, W) probabilities of being occupied."""
    return (logits[:, 1] - logits[:, 0]).sigmoid()
