"""Fields whose zero levels are known, and what tests ask of points on them."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.isopoints import extract
from recon.geometry.near import Trees, spacing
from recon.geometry.newton import newton

BOX = (0.4, 0.3, 0.2)


def sphere(p: Tensor) -> Tensor:
    return p.norm(dim=1) - 0.6


def torus(p: Tensor) -> Tensor:
    return ((p[:, :2].norm(dim=1) - 0.5).square() + p[:, 2].square()).sqrt() - 0.22


def box(p: Tensor) -> Tensor:
    beyond = p.abs() - p.new_tensor(BOX)
    return beyond.clamp(min=0).norm(dim=1) + beyond.amax(dim=1).clamp(max=0)


FIELDS = {"sphere": sphere, "torus": torus, "box": box}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def even(name: str, count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Iso-points of a field and unit normals."""
    found = extract(FIELDS[name], count, generator=seeded(seed))
    return found.points, found.normals


def random(name: str, count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of a field as they fall, and unit normals."""
    found = newton(FIELDS[name], torch.rand(2 * count, 3, generator=seeded(seed)) * 2 - 1, 20)
    points, gradients = found.points[found.converged][:count], found.gradients[found.converged][:count]
    assert len(points) == count
    return points, torch.nn.functional.normalize(gradients, dim=1)


def faces_of_box(count: int) -> tuple[Tensor, Tensor]:
    """Points on the box, even by area, and unit normals; projection would gather them on its edges."""
    half, draw = torch.tensor(BOX), seeded()
    axis = torch.multinomial(half.prod() / half, count, replacement=True, generator=draw)
    sign = torch.randint(0, 2, (count, 1), generator=draw) * 2.0 - 1
    normals = sign * torch.eye(3)[axis]
    inside = (torch.rand(count, 3, generator=draw) * 2 - 1) * half
    return torch.where(normals != 0, normals * half, inside), normals


def gradient(name: str, points: Tensor) -> Tensor:
    points = points.clone().requires_grad_()
    return torch.autograd.grad(FIELDS[name](points).sum(), points)[0]


def distance_to_edge(points: Tensor) -> Tensor:
    """(N,) of points on the box."""
    return (points.abs() - points.new_tensor(BOX)).abs().sort(dim=1).values[:, 1]


def variation(points: Tensor) -> float:
    """Coefficient of variation of the distances to the nearest point."""
    nearest = spacing(points)
    return float(nearest.std() / nearest.mean())


def hole(points: Tensor, surface: Tensor) -> float:
    """The largest distance of `surface` points to the nearest of `points`."""
    return float(Trees(points).query(surface, 1).square.max().sqrt())
