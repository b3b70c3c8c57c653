"""The loss of occupancy networks (Mescheder et al. 2019, equation 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def occupancy_loss(logits: Tensor, inside: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the queries of a shape and averaged over the shapes.

    Args:
        logits: (B, Q), positive inside; of any floating type, the sum is taken in float32.
        inside: (B, Q) bool, or a float in [0, 1].

    Returns:
        A scalar, in nats a shape.
    """
    total = F.binary_cross_entropy_with_logits(logits.float(), inside.float(), reduction="sum")
    return total / len(logits)
