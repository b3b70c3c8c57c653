"""Extraction of iso-points written straightforwardly from the paper and its program's recipe, one cloud at a time.

Newton's steps by autograd, a tree and all clearances as differences between k x k points in every round of up-sampling,
and farthest points one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.spatial import cKDTree
from torch import Tensor

Field = Callable[[Tensor], Tensor]


def extract(sdf: Field, wanted: int, generator: torch.Generator, start: Tensor | None = None) -> Tensor:
    """Project, consolidate, project, grow, project, grow, project, grow, project."""
    points = torch.rand(4 * wanted, 3, generator=generator) * 2 - 1 if start is None else start
    points = _project(sdf, points)
    points = points[points.norm(dim=1) < 1]
    points = _wlop(points, min(0.5, wanted / len(points)), generator)
    count = len(points)
    points = _upsample(_project(sdf, points), count, 31)
    points = _upsample(_project(sdf, points), wanted, 16)
    points = _upsample(_project(sdf, points), wanted, 31)
    return _project(sdf, points)


def _project(sdf: Field, points: Tensor) -> Tensor:
    """Those that converge in ten steps."""
    points = points.clone()
    active = torch.ones(len(points), dtype=torch.bool)
    for iteration in range(11):
        values, gradients = [], []
        for part in points[active].split(16000):
            x = part.clone().requires_grad_()
            value = sdf(x)
            gradients.append(torch.autograd.grad(value, x, torch.ones_like(value))[0])
            values.append(value.detach())
        value, gradient = torch.cat(values), torch.cat(gradients)
        away = value.abs() > 5e-5
        rows = active.nonzero()[:, 0]
        active[rows[~away]] = False
        if iteration == 10 or not active.any():
            return points[~active]
        step = (value / gradient.square().sum(dim=1).clamp(min=1e-17))[:, None] * gradient
        length = step.norm(dim=1, keepdim=True)
        points[active] = (points[rows] - step / length.clamp(min=1e-17) * length.clamp(max=0.1))[away]
    return points[~active]


def _knn(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    index = torch.from_numpy(cKDTree(points.numpy()).query(queries.numpy(), k=k)[1])
    return (queries[:, None] - points[index]).square().sum(dim=-1), index


def _wlop(points: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    diagonal = (points.amax(dim=0) - points.amin(dim=0)).norm()
    width = 4 * (diagonal / len(points)).sqrt()
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    nearest = torch.full((len(points),), torch.inf)
    for _ in range(math.ceil(ratio * len(points)) - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(dim=1))
        chosen.append(int(nearest.argmax()))
    x = points[chosen] + 0.1 * width * torch.randn(len(chosen), 3, generator=generator)
    square, _ = _knn(points, points, 17)
    density = 1 + torch.exp(-16 * square[:, 1:] / width**2).sum(dim=1)
    for _ in range(3):
        square, index = _knn(x, points, 16)
        weight = torch.exp(-16 * square / width**2) / square.sqrt() / density[index]
        data = (weight[..., None] * points[index]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        square, index = _knn(x, x, 17)
        weight = torch.exp(-16 * square[:, 1:] / width**2) / square[:, 1:].sqrt()
        push = (weight[..., None] * (x[:, None] - x[index[:, 1:]])).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        x = data + 0.5 * push
    return x


def _upsample(points: Tensor, wanted: int, k: int) -> Tensor:
    while len(points) < wanted:
        index = _knn(points, points, k + 1)[1][:, 1:]
        others = points[index]
        middle = (others + 2 * points[:, None]) / 3
        room = (middle[:, :, None] - others[:, None]).norm(dim=-1).amin(dim=2)
        best, which = room.max(dim=1)
        new = middle[torch.arange(len(points)), which]
        few = min(wanted - len(points), len(points) // 8)
        points = torch.cat([new[best.argsort()[-few:]], points])
    return points
