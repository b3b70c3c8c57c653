"""Rays of pixels, and where they pass through the sphere of interest, on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def rays(pixels: Tensor, intrinsics: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and unit directions of the rays through pixels; gradients flow to K and pose.

    Args:
        pixels: (..., N, 2), in the pixel coordinates of K.
        intrinsics: (..., 3, 3).
        pose: (..., 4, 4) camera to local, OpenCV axes.

    Returns:
        Both (..., N, 3), local.
    """
    k = intrinsics[..., None, :, :]
    y = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (pixels[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    directions = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ pose[..., :3, :3].transpose(-1, -2)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return pose[..., None, :3, 3].expand_as(directions), directions


def sphere_interval(origins: Tensor, directions: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave a sphere about the origin (IDR, supplement 1).

    Args:
        origins: (..., 3).
        directions: (..., 3), unit.
        radius: of the sphere.

    Returns:
        Distances of entry and exit (...), not behind the origin and 0 where the sphere is missed, and hit (...) bool.
    """
    middle = -(origins * directions).sum(dim=-1)
    # The squared distance from the centre to the ray, rather than |o|^2 - (o d)^2, which loses digits far away.
    square = radius**2 - (origins + middle[..., None] * directions).square().sum(dim=-1)
    hit = square > 0
    half = square.clamp(min=0).sqrt()
    zero = torch.zeros_like(middle)
    near, far = (torch.where(hit, t, zero).clamp(min=0) for t in (middle - half, middle + half))
    return near, far, hit


def sphere_span(origins: Tensor, directions: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """(...) distances one radius before and after the point nearest to the origin, hit or not (NeuS)."""
    middle = -(origins * directions).sum(dim=-1) / directions.square().sum(dim=-1)
    return middle - radius, middle + radius
