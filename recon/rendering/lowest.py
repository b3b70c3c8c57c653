"""Where a field is least along rays, for the loss on masks (Yariv et al. 2020, eq. 7)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

At = Callable[[Tensor, Tensor], Tensor]
INNER = 10  # samples behind a surface, where tracing has seen nothing
OFFSETS = (-0.9, -0.35, 0.35, 0.9)  # samples about the least met, in units of its value, which is the length of a step


def lowest_of_draws(at: At, numbers: Tensor, near: Tensor, far: Tensor, draws: Tensor, piece: int) -> Tensor:
    """Distances (M,) of the least of some values on each ray, as in the authors' program.

    Args:
        at: gives the field on rays, by their numbers (K,), at distances (K,).
        numbers: (M,) of the rays.
        near: (M,) where the search begins.
        far: (M,) where it ends.
        draws: (D,) in [0, 1], where between them all rays are asked.
        piece: samples that are held at once.
    """
    if not len(numbers):
        return near
    lowest = []
    for part, start, end in zip(*(x.split(max(piece // len(draws), 1)) for x in (numbers, near, far)), strict=True):
        depths = draws * (end - start)[:, None] + start[:, None]
        values = at(part.repeat_interleave(len(draws)), depths.flatten()).view_as(depths)
        lowest.append(depths.gather(1, values.argmin(dim=1, keepdim=True))[:, 0])
    return torch.cat(lowest)


def lowest_between(at: At, numbers: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distances (M,) of about the least value between two surfaces: a few samples, and a parabola through the least."""
    steps = torch.linspace(0, 1, INNER + 2, dtype=start.dtype, device=start.device)[1:-1]
    depths = start[:, None] + steps * (end - start)[:, None]
    values = at(numbers.repeat_interleave(INNER), depths.flatten()).view_as(depths)
    return _refined(at, numbers, depths, values)


def lowest_about(at: At, numbers: Tensor, best: Tensor, least: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Distances (M,) of about the least value, near the least that tracing has met.

    Args:
        at: as in `lowest_of_draws`.
        numbers: (M,) of the rays.
        best: (M,) where tracing has met the least value.
        least: (M,) that value.
        near: (M,) where rays enter the sphere.
        far: (M,) where they leave it.
    """
    offsets = best.new_tensor(OFFSETS) * least.clamp(min=0)[:, None]
    depths = (best[:, None] + offsets).clamp(near[:, None], far[:, None])
    values = at(numbers.repeat_interleave(len(OFFSETS)), depths.flatten()).view_as(depths)
    half = len(OFFSETS) // 2
    depths, values = (
        torch.cat([x[:, :half], met[:, None], x[:, half:]], dim=1) for x, met in ((depths, best), (values, least))
    )
    return _refined(at, numbers, depths, values)


def _refined(at: At, numbers: Tensor, depths: Tensor, values: Tensor) -> Tensor:
    """The least of values at increasing depths (M, S), or that at the vertex of the parabola through it and beside."""
    middle = values.argmin(dim=1, keepdim=True).clamp(1, depths.shape[1] - 2)
    three = torch.cat([middle - 1, middle, middle + 1], dim=1)
    depths, values = depths.gather(1, three), values.gather(1, three)
    a, b = values[:, 0] - values[:, 1], values[:, 2] - values[:, 1]
    p, q = depths[:, 0] - depths[:, 1], depths[:, 2] - depths[:, 1]
    bend = a * q - b * p
    vertex = depths[:, 1] + torch.where(bend == 0, 0.0, (a * q**2 - b * p**2) / (2 * torch.where(bend == 0, 1.0, bend)))
    vertex = vertex.clamp(depths[:, 0], depths[:, 2])
    depths = torch.cat([depths, vertex[:, None]], dim=1)
    values = torch.cat([values, at(numbers, vertex)[:, None]], dim=1)
    return depths.gather(1, values.argmin(dim=1, keepdim=True))[:, 0]
