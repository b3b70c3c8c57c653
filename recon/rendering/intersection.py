"""Surface points as functions of a field's weights and of the camera, to first order.

The value of each is the point that was traced; its derivative is that of the true intersection.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-10


def along_ray(origins: Tensor, directions: Tensor, distance: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """(N, 3) points that move along their rays (Yariv et al. 2020, eq. 3; Iso-Points' directional sampling).

    ``x = c + (t - (f - f_0) / (g v_0)) v``, where f_0, g and v_0 are constants.

    Args:
        origins: (N, 3) c; gradients flow, so that cameras learn.
        directions: (N, 3) v, as well.
        distance: (N,) t, where the ray was traced to.
        value: (N,) f there; gradients flow.
        gradient: (N, 3) g there.
    """
    slope = (gradient.detach() * directions.detach()).sum(dim=-1)
    slope = torch.where(slope < 0, slope.clamp(max=-TINY), slope.clamp(min=TINY))
    moving = distance.detach() - (value - value.detach()) / slope
    return origins + moving[:, None] * directions


def along_normal(points: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """(N, 3) points that move along the normal: ``x - (f - f_0) g / |g|^2`` (Iso-Points; for colours of the surface).

    Args:
        points: (N, 3), constants.
        value: (N,) f there; gradients flow.
        gradient: (N, 3) g there, a constant.
    """
    g = gradient.detach()
    step = g / g.square().sum(dim=-1, keepdim=True).clamp(min=TINY)
    return points.detach() - (value - value.detach())[:, None] * step
