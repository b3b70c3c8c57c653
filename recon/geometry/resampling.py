"""Points of a level set pushed apart along the surface: as Iso-Points does (section 3.1), and more evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.near import Near, Trees, nearest_first
from recon.geometry.newton import SDF, TOLERANCE, Projected, correct, newton
from recon.geometry.packed import Counts, counts_of, diagonals, guarded, means, precisions, spread

Compat = Literal["released"] | None
PROJECTIONS = 3  # Newton's steps between two moves
REBUILD = 2  # moves with the same neighbours
REACH = 1.8  # of a push, in mean distances to the nearest point: just short of second neighbours, where it is evenest
STRENGTH = 0.35
OPPOSITE = -0.5  # cosine between normals of the two sides of a thin part


def resample(
    sdf: SDF | Sequence[SDF],
    points: Tensor,
    normals: Tensor,
    iterations: int = 1,
    k: int = 8,
    tolerance: float = TOLERANCE,
    counts: Counts = None,
    compat: Compat = None,
) -> Projected:
    """Move points away from their neighbours in the neighbours' tangent planes, and back onto the surface.

    Args:
        sdf: the field, about a unit object: kernels are sized by points per diagonal of the bounding box. One of
            all clouds, or one a cloud.
        points: (N, 3) on the surface.
        normals: (N, 3) gradients there, of any length.
        iterations: moves.
        k: neighbours that push.
        tolerance: of the projection.
        counts: points a cloud.
        compat: ``"released"`` projects only after the last move and keeps the first normals throughout.
    """
    sizes = counts_of(points, counts)
    points, normals = points.detach(), normalize(normals.detach(), dim=1)
    if not iterations or len(points) == 0:
        return newton(sdf, points, PROJECTIONS, tolerance, counts=sizes)
    # Kernels keep the size that they have at the start.
    precision, reach = precisions(points, sizes), k * _mean_spacing(points, sizes)
    index = torch.zeros(0, k, dtype=torch.long)
    for iteration in range(iterations):
        if iteration % REBUILD == 0:
            near = Trees(points, sizes).around(k)
            index = torch.where(near.valid, near.index, -1)
        else:
            near = nearest_first(points, points, index)
        points = points + push(points, normals, near.within(reach), precision)
        if compat is None or iteration == iterations - 1:
            projected = newton(sdf, points, PROJECTIONS, tolerance, counts=sizes)
        if compat is None:
            points, normals = projected.points, normalize(projected.gradients, dim=1)
    return projected


def push(points: Tensor, normals: Tensor, near: Near, precision: Tensor) -> Tensor:
    """(N, 3) moves away from the neighbours, weighted by nearness and scaled by density.

    Args:
        points: (N, 3), packed.
        normals: (N, 3), unit.
        near: the neighbours of each point.
        precision: (N, 1) of the kernel.
    """
    weight = torch.where(near.valid, torch.exp(-precision * near.square), 0.0)
    away = points[:, None] - points[near.index]
    plane = normals[near.index]
    away = away - (away * plane).sum(dim=-1, keepdim=True) * plane
    total = weight.sum(dim=1, keepdim=True)
    return (1 + total) * (weight[..., None] * away).sum(dim=1) / guarded(total)


def _mean_spacing(points: Tensor, counts: list[int]) -> Tensor:
    """(N, 1) the original's measure of spacing, sqrt(diagonal / count)."""
    return spread((diagonals(points, counts) / points.new_tensor(counts).clamp(min=1)).sqrt(), counts)


def relax(
    sdf: SDF | Sequence[SDF],
    points: Tensor,
    normals: Tensor,
    iterations: int = 4,
    k: int = 8,
    tolerance: float = TOLERANCE,
    counts: Counts = None,
) -> Projected:
    """Even out the distances of points on a surface; like springs that push until they reach a common length.

    Unlike the kernel of `resample`, whose width follows from the bounding box, that length is measured.

    Args:
        sdf: the field, of all clouds, or one a cloud.
        points: (N, 3) on the surface, packed.
        normals: (N, 3) gradients there, of any length.
        iterations: moves, each followed by one step of Newton.
        k: neighbours that push.
        tolerance: of the projection.
        counts: points a cloud.
    """
    sizes = counts_of(points, counts)
    index = torch.zeros(0, k, dtype=torch.long)
    for iteration in range(iterations):
        if iteration % REBUILD == 0:
            near = Trees(points, sizes).around(k)
            index = torch.where(near.valid, near.index, -1)
        else:
            near = nearest_first(points, points, index)
        points = points + _spring(points, normalize(normals, dim=1), near, sizes)
        points, normals = correct(sdf, points, counts=sizes)
    return newton(sdf, points, tolerance=tolerance, counts=sizes)


def _spring(points: Tensor, normals: Tensor, near: Near, counts: list[int]) -> Tensor:
    """(N, 3) moves in the tangent planes, away from what is nearer than the common length."""
    distance = torch.where(near.valid, near.square, 0.0).sqrt()
    length = REACH * spread(means(distance[:, 0], counts), counts)
    # The other side of a thin part is near, but no neighbour; that of a sharp edge is.
    same = (normals[:, None] * normals[near.index]).sum(dim=-1) > OPPOSITE
    force = torch.where(near.valid & same, (1 - distance / guarded(length)).clamp(min=0), 0.0)
    away = (points[:, None] - points[near.index]) / guarded(distance)[..., None]
    move = STRENGTH * length * (force[..., None] * away).sum(dim=1)
    move = move - (move * normals).sum(dim=1, keepdim=True) * normals
    return move * (0.5 * length / torch.maximum(move.norm(dim=1, keepdim=True), guarded(0.5 * length)))
