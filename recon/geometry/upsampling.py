"""More points on the same surface, between neighbours where there is most room (Iso-Points, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.near import Near, Trees
from recon.geometry.packed import Counts, counts_of

K = 16
GROWTH = 8  # a round adds at most one point to as many


def upsample(points: Tensor, wanted: int | list[int], k: int = K, counts: Counts = None) -> tuple[Tensor, list[int]]:
    """Grow clouds to `wanted` points; new ones lie a third of the way to a neighbour, off the surface.

    Args:
        points: (N, 3), packed.
        wanted: points a cloud; clouds that have as many, or fewer than two points, stay as they are.
        k: neighbours looked at.
        counts: points a cloud.

    Returns:
        (M, 3) points, in each cloud the newest first, and how many each cloud has.
    """
    sizes = counts_of(points, counts)
    goals = wanted if isinstance(wanted, list) else [wanted] * len(sizes)
    while True:
        quotas = [quota(size, goal, GROWTH) for size, goal in zip(sizes, goals, strict=True)]
        if not any(quotas):
            return points, sizes
        near = Trees(points, sizes).around(k)
        middle, room = roomiest(points, near)
        points, sizes = grow(points, middle, room, quotas, sizes)


def quota(size: int, goal: int, growth: int) -> int:
    """Points that a cloud gets in one round: at least one, so that the smallest grow as well."""
    return min(max(goal - size, 0), max(size // growth, 1)) if size > 1 else 0


def roomiest(points: Tensor, near: Near) -> tuple[Tensor, Tensor]:
    """Of each point's candidates ``(2 p + neighbour) / 3`` the one farthest from all its neighbours.

    The point itself does not count, which prefers long edges to short ones that end in a hole.

    Returns:
        (N, 3) candidates, and (N,) the square of how far.
    """
    others = points[near.index]
    middle = (others + 2 * points[:, None]) / 3
    square = torch.zeros_like(near.square)[..., None] + torch.zeros_like(near.square)[:, None]
    for axis in range(3):  # all three at once would take three times the memory
        square += (middle[..., None, axis] - others[:, None, :, axis]).square()
    room = square.masked_fill_(~near.valid[:, None], torch.inf).amin(dim=2)
    best, which = torch.where(near.valid, room, -torch.inf).max(dim=1)
    return middle.gather(1, which[:, None, None].expand(-1, 1, 3))[:, 0], best


def grow(points: Tensor, new: Tensor, rank: Tensor, quotas: list[int], sizes: list[int]) -> tuple[Tensor, list[int]]:
    """Put those of `new` (N, 3) with the highest `rank` (N,) before each cloud, in ascending order of it."""
    parts = []
    for cloud, candidates, ranks, count in zip(
        points.split(sizes), new.split(sizes), rank.split(sizes), quotas, strict=True
    ):
        parts += [candidates[ranks.argsort(stable=True)[len(ranks) - count :]], cloud]
    return torch.cat(parts), [size + count for size, count in zip(sizes, quotas, strict=True)]
