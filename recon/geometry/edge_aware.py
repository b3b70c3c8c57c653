"""Points that leave sharp edges, and new ones that fill them in again, on the level set of a field.

Huang et al. 2013, "Edge-Aware Point Set Resampling", in Iso-Points' form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.iso_filters import cut_off, denoise_normals
from recon.geometry.near import Near, Trees
from recon.geometry.newton import SDF, TOLERANCE, Projected, newton
from recon.geometry.packed import Counts, counts_of, guarded, means, spread
from recon.geometry.resampling import Compat
from recon.geometry.upsampling import grow, quota

K = 31
GROWTH = 10  # a round adds at most one point to as many


def upsample_edges(
    sdf: SDF | Sequence[SDF],
    points: Tensor,
    ratio: float = 1.5,
    k: int = K,
    repulsion: float = 0.5,
    angle: float = 15.0,
    sensitivity: float = 1.0,
    tolerance: float = TOLERANCE,
    counts: Counts = None,
    compat: Compat = None,
) -> tuple[Projected, list[int]]:
    """Clear the surroundings of edges, where normals mix, then insert points there, and project all.

    Args:
        sdf: the field of unit objects, of all clouds, or one a cloud.
        points: (N, 3) on the surface, packed.
        ratio: points afterwards by points before.
        k: neighbours.
        repulsion: mu, weight of the push.
        angle: degrees between normals that count as one side of an edge.
        sensitivity: preference of edges over wide gaps.
        tolerance: of the projection.
        counts: points a cloud.
        compat: ``"released"`` has the original's moves near edges, cut off wrongly (see `clear_edges`).

    Returns:
        The points and how many each cloud has.
    """
    sizes = counts_of(points, counts)
    goals = [math.ceil(ratio * size) for size in sizes]
    gradients = newton(sdf, points, 0, counts=sizes).gradients
    points = clear_edges(points, gradients, k, repulsion, angle, sizes, compat)
    while any(quotas := [quota(size, goal, GROWTH) for size, goal in zip(sizes, goals, strict=True)]):
        normals = normalize(newton(sdf, points, 0, counts=sizes).gradients, dim=1)
        middle, rank = _sharpest(points, normals, Trees(points, sizes).around(k), sensitivity)
        points, sizes = grow(points, middle, rank, quotas, sizes)
    return newton(sdf, points, tolerance=tolerance, counts=sizes), sizes


def clear_edges(
    points: Tensor,
    normals: Tensor,
    k: int = K,
    repulsion: float = 0.5,
    angle: float = 15.0,
    counts: Counts = None,
    compat: Compat = None,
) -> Tensor:
    """(N, 3) points after one step of locally optimal projection along denoised normals, away from edges.

    Args:
        points: (N, 3), packed, of unit objects.
        normals: (N, 3) of any length.
        k: neighbours.
        repulsion: mu, weight of the push.
        angle: degrees between normals that count as one side of an edge.
        counts: points a cloud.
        compat: ``"released"`` normalises the moves over all points instead of each over its three coordinates
            (``F.normalize`` without ``dim``), so that they all but vanish in large clouds.
    """
    sizes = counts_of(points, counts)
    near = Trees(points, sizes).around(k)
    normals = denoise_normals(points, normals, angle, k, sizes, near=near)
    move = _edge_move(points, normals, near, repulsion, spread(points.new_tensor(sizes), sizes))
    nearest = torch.where(near.valid[:, 0], near.square[:, 0], 0.0)
    longest = spread(means(nearest, sizes).sqrt(), sizes)
    length = torch.minimum(move.norm(dim=1, keepdim=True), longest)
    if compat == "released":
        direction = torch.cat([normalize(cloud, dim=0) for cloud in move.split(sizes)])
    else:
        direction = normalize(move, dim=1)
    return points - direction * length


def _edge_move(points: Tensor, normals: Tensor, near: Near, repulsion: float, number: Tensor) -> Tensor:
    """(N, 3) what is taken from the points: towards neighbours' planes, and away from neighbours."""
    near = cut_off(near, number)
    offset = points[:, None] - points[near.index]
    height = (offset * normals[:, None]).sum(dim=-1)
    inside = torch.where(near.valid, torch.exp(-height.square() * number / 2), 0.0)
    weight = torch.where(near.valid, torch.exp(-near.square * number / 2), 0.0)
    density = 1 + weight.sum(dim=1, keepdim=True)
    return _mean(offset, inside) - repulsion * density * _mean(offset, weight)


def _mean(offset: Tensor, weight: Tensor) -> Tensor:
    return (weight[..., None] * offset).sum(dim=1) / guarded(weight.sum(dim=1, keepdim=True))


def _sharpest(points: Tensor, normals: Tensor, near: Near, sensitivity: float) -> tuple[Tensor, Tensor]:
    """Each point's best candidate ``(2 p + neighbour) / 3``: much room in the neighbours' planes, or a sharp turn."""
    others, plane = points[near.index], normals[near.index]
    middle = (others + 2 * points[:, None]) / 3
    square = torch.zeros_like(near.square)[..., None] + torch.zeros_like(near.square)[:, None]
    height = torch.zeros_like(square)
    for axis in range(3):
        offset = middle[..., None, axis] - others[:, None, :, axis]
        square += offset.square()
        height += offset * plane[:, None, :, axis]
    room = (square - height.square()).masked_fill_(~near.valid[:, None], torch.inf).amin(dim=2).abs().sqrt()
    turn = 2 - (normals[:, None] * plane).sum(dim=-1)
    rank, which = torch.where(near.valid, turn**sensitivity * room, -torch.inf).max(dim=1)
    return middle.gather(1, which[:, None, None].expand(-1, 1, 3))[:, 0], rank
