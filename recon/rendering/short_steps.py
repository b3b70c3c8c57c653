"""Sphere tracing in short steps from one side, as Iso-Points' program has it beside IDR's search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stepped:
    """Where N points have come.

    Attributes:
        points: (N, 3).
        value: (N,) the field there.
        converged: (N,) whether that is about zero.
    """

    points: Tensor
    value: Tensor
    converged: Tensor


@torch.no_grad()
def step_along(
    sdf: Callable[[Tensor], Tensor],
    starts: Tensor,
    directions: Tensor,
    steps: int = 10,
    longest: float = 0.1,
    tolerance: float = 5e-5,
    limit: float = 1.1,
) -> Stepped:
    """Move points along rays by the field's value.

    Ten steps of at most a tenth end before most surfaces: on rays that have not converged search on by samples
    (`SphereTracer.first_surface`).

    Args:
        sdf: (M, 3) to (M,).
        starts: (N, 3), where rays enter the region.
        directions: (N, 3) unit.
        steps: at most.
        longest: step.
        tolerance: of a converged point's value; points stop at a tenth of it.
        limit: points do not go farther than this from the origin, but stay where they are.
    """
    points, value = starts.clone(), sdf(starts)
    active = torch.arange(len(points), device=points.device)
    for _ in range(steps):
        active = active[value[active].abs() > tolerance / 10]
        moved = points[active] + value[active].clamp(-longest, longest)[:, None] * directions[active]
        near = moved.norm(dim=1) <= limit
        active, moved = active[near], moved[near]
        if not len(active):
            break
        points[active] = moved
        value[active] = sdf(moved)
    return Stepped(points, value, value.abs() < tolerance)
