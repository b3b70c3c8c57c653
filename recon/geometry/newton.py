"""Points to the zero level of a field: projection by Newton's steps along the gradient (Iso-Points, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from recon.geometry.packed import TINY, Counts, counts_of

ITERATIONS = 10
TOLERANCE = 5e-5
LONGEST_STEP = 0.1
CHUNK = 2048  # points of a network's pass that stay near a processor,
ACCELERATOR_CHUNK = 1 << 17  # and that fill an accelerator


class SDF(Protocol):
    """A field (N, 3) -> (N,), about the signed distance; differentiable, on any device, in any precision."""

    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class GradientSDF(Protocol):
    """A field that knows its gradient in closed form, as those of `recon.nets` do."""

    def value_and_gradient(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Values (N,) and gradients (N, 3)."""


def pieces(points: Tensor, chunk: int | None = None) -> tuple[Tensor, ...]:
    """The points in passes of `chunk`, or of what suits their device."""
    return points.detach().split(chunk or (CHUNK if points.device.type == "cpu" else ACCELERATOR_CHUNK))


def value_and_gradient(sdf: SDF, points: Tensor, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Values (N,) and gradients (N, 3) at `points` (N, 3), without a graph."""
    with torch.autocast(points.device.type, enabled=False):  # half precision cannot meet the tolerance
        parts = [_value_and_gradient(sdf, part) for part in pieces(points, chunk)]
    return torch.cat([value for value, _ in parts]), torch.cat([gradient for _, gradient in parts])


def _value_and_gradient(sdf: SDF, points: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(sdf, GradientSDF):
        with torch.no_grad():
            return sdf.value_and_gradient(points)
    # Lightning validates in inference mode, whose tensors can have no gradient; a clone made outside of it can.
    with torch.inference_mode(False), torch.enable_grad():
        points = points.clone().requires_grad_()
        value = sdf(points)
        (gradient,) = torch.autograd.grad(value.sum(), points)
    return value.detach(), gradient


@dataclass(frozen=True)
class Projected:
    """Points and what their field says there.

    Attributes:
        points: (N, 3).
        gradients: (N, 3) of the field at the points; normals, not of unit length.
        converged: (N,) whether the field's absolute value is below the tolerance.
    """

    points: Tensor
    gradients: Tensor
    converged: Tensor

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three."""
        return self.points, self.gradients, self.converged


def newton(
    sdf: SDF | Sequence[SDF],
    points: Tensor,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    longest: float = LONGEST_STEP,
    radius: float | None = None,
    chunk: int | None = None,
    counts: Counts = None,
) -> Projected:
    """Move points onto the zero level: ``p -= f g / |g|^2``, until the field is small.

    Only points that are not there yet are evaluated.

    Args:
        sdf: the field of all points, or one a cloud.
        points: (N, 3), packed.
        iterations: moves at the most; 0 only evaluates.
        tolerance: of the field's absolute value.
        longest: step; longer ones are cut, since the field is trusted only nearby.
        radius: points farther than twice this from the origin are given up, where that is given.
        chunk: points evaluated at once; by default what suits the device.
        counts: points a cloud; only needed where each has its own field.
    """
    if isinstance(sdf, Sequence):
        clouds = zip(sdf, points.split(counts_of(points, counts)), strict=True)
        parts = [newton(field, cloud, iterations, tolerance, longest, radius, chunk) for field, cloud in clouds]
        return Projected(*(torch.cat(values) for values in zip(*(part.all() for part in parts), strict=True)))
    points = points.detach().clone()
    gradients, converged = torch.zeros_like(points), torch.zeros(len(points), dtype=torch.bool, device=points.device)
    active = torch.arange(len(points), device=points.device)
    for iteration in range(iterations + 1):
        value, gradient = value_and_gradient(sdf, points[active], chunk) if len(active) else (points[:0, 0], points[:0])
        gradients[active] = gradient.to(gradients.dtype)
        away = ~(value.abs() <= tolerance)  # a value that is no number is not there
        converged[active] = ~away
        if iteration == iterations or not away.any():
            break
        active = active[away]
        moved = points[active] - _step(value[away], gradient[away], longest)
        points[active] = moved
        if radius is not None:
            active = active[moved.norm(dim=1) < 2 * radius]
    return Projected(points, gradients, converged)


def correct(
    sdf: SDF | Sequence[SDF], points: Tensor, chunk: int | None = None, counts: Counts = None
) -> tuple[Tensor, Tensor]:
    """One step for points that are almost there, without a look at where it leads.

    Returns:
        (N, 3) points, and (N, 3) gradients before the step.
    """
    if isinstance(sdf, Sequence):
        clouds = zip(sdf, points.split(counts_of(points, counts)), strict=True)
        moved, gradients = zip(*(correct(field, cloud, chunk) for field, cloud in clouds), strict=True)
        return torch.cat(moved), torch.cat(gradients)
    value, gradient = value_and_gradient(sdf, points, chunk)
    return points - _step(value, gradient, LONGEST_STEP), gradient


def _step(value: Tensor, gradient: Tensor, longest: float) -> Tensor:
    step = (value / gradient.square().sum(dim=1).clamp(min=TINY))[:, None] * gradient
    length = step.norm(dim=1, keepdim=True)
    return step * (longest / length.clamp(min=longest))
