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


def sphere_interval(
    origins: Tensor, directions: Tensor, radius: float = 1.0, compat: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave a sphere about the origin (IDR, supplement 1).

    Args:
        origins: (..., 3).
        directions: (..., 3), unit.
        radius: of the sphere.
        compat: ``"released"``: as in Iso-Points' program, which takes distances without their signs, so that rays
            that start within the sphere begin as far ahead as the sphere is behind them.

    Returns:
        Distances of entry and exit (...), not behind the origin and 0 where the sphere is missed, and hit (...) bool.
    """
    middle = -(origins * directions).sum(dim=-1)
    # The squared distance from the centre to the ray, rather than |o|^2 - (o d)^2, which loses digits far away.
    square = radius**2 - (origins + middle[..., None] * directions).square().sum(dim=-1)
    hit = square > 0
    half = square.clamp(min=0).sqrt()
    zero = torch.zeros_like(middle)
    near, far = (torch.where(hit, t, zero) for t in (middle - half, middle + half))
    if compat == "released":
        return near.abs(), far.abs(), hit
    return near.clamp(min=0), far.clamp(min=0), hit


def box_interval(origins: Tensor, directions: Tensor, half: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave the cube ``[-half, half]^3``.

    Args:
        origins: (..., 3).
        directions: (..., 3).
        half: half the cube's side.

    Returns:
        As `sphere_interval`.
    """
    # A ray along a side is between its two planes for ever, or never: infinities say so, but 0 / 0 would not.
    parallel = directions == 0
    steps = 1 / torch.where(parallel, 1.0, directions)
    first, second = (-half - origins) * steps, (half - origins) * steps
    within = origins.abs() <= half
    forever = torch.full_like(first, torch.inf)
    low = torch.where(parallel, torch.where(within, -forever, forever), torch.minimum(first, second)).amax(dim=-1)
    high = torch.where(parallel, torch.where(within, forever, -forever), torch.maximum(first, second)).amin(dim=-1)
    hit = low < high
    near, far = (torch.where(hit, t, 0.0).clamp(min=0) for t in (low, high))
    return near, far, hit


def sphere_span(origins: Tensor, directions: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """(...) distances one radius before and after the point nearest to the origin, hit or not (NeuS)."""
    middle = -(origins * directions).sum(dim=-1) / directions.square().sum(dim=-1)
    return middle - radius, middle + radius
