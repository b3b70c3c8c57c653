"""Consolidation of a cloud: weighted locally optimal projection (Huang et al. 2009), as Iso-Points uses it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.geometry.farthest import farthest_points
from recon.geometry.near import Near, Trees
from recon.geometry.packed import Counts, Generators, counts_of, diagonals, generators_of, guarded, spread

K = 16
WIDEST = 0.2  # search radius in units of the object, which lies in the unit sphere


def wlop(
    points: Tensor,
    ratio: float | list[float] = 0.5,
    iterations: int = 3,
    repulsion: float = 0.5,
    k: int = K,
    counts: Counts = None,
    generator: Generators = None,
    start: Tensor | None = None,
) -> tuple[Tensor, list[int]]:
    """Fewer points, in the middle of their neighbourhoods and pushed apart.

    Args:
        points: (N, 3), packed.
        ratio: points to keep, as a share of each cloud; one number or one a cloud.
        iterations: rounds.
        repulsion: mu, weight of the push.
        k: neighbours.
        counts: points a cloud.
        generator: draws where the choice of points starts, and their jitter.
        start: (M, 3) the points to begin with, which draws nothing; `ceil(ratio N)` a cloud.

    Returns:
        (M, 3) points, and how many each cloud has.
    """
    sizes = counts_of(points, counts)
    ratios = ratio if isinstance(ratio, list) else [ratio] * len(sizes)
    wanted = [min(math.ceil(share * size), size) for share, size in zip(ratios, sizes, strict=True)]
    points = points.detach()
    width = 4 * (diagonals(points, sizes) / points.new_tensor(sizes).clamp(min=1)).sqrt()
    cloud, x = Trees(points, sizes), _seeds(points, wanted, sizes, width, generator) if start is None else start
    kernel = _Kernel(spread(width, sizes))
    density = 1 + kernel(_reach(cloud.around(k), kernel)).sum(dim=1)
    kernel = _Kernel(spread(width, wanted))
    for _ in range(iterations):
        near, others = _reach(cloud.query(x, k, wanted), kernel), _reach(Trees(x, wanted).around(k), kernel)
        attract = kernel(near) / guarded(near.square.sqrt()) / density[near.index]
        repel = kernel(others) / guarded(others.square.sqrt())
        x = _mean(points, near, attract, x) + repulsion * (x - _mean(x, others, repel, x))
    return x, wanted


class _Kernel:
    """exp(-16 d^2 / h^2), h the width (N, 1) of each point's cloud."""

    def __init__(self, width: Tensor) -> None:
        self.width = width

    def __call__(self, near: Near) -> Tensor:
        """(N, k) weights; 0 in slots that are not valid."""
        return torch.where(near.valid, torch.exp(-16 * near.square / guarded(self.width.square())), 0.0)


def _reach(near: Near, kernel: _Kernel) -> Near:
    return near.within((16 * kernel.width).clamp(max=WIDEST))


def _mean(points: Tensor, near: Near, weight: Tensor, otherwise: Tensor) -> Tensor:
    """(M, 3) weighted means of neighbours; `otherwise` where there are none."""
    total = weight.sum(dim=1, keepdim=True)
    mean = (weight[..., None] * points[near.index]).sum(dim=1) / guarded(total)
    return torch.where(total > 0, mean, otherwise)


def _seeds(points: Tensor, wanted: list[int], sizes: list[int], width: Tensor, generator: Generators) -> Tensor:
    """A spread-out subset, off the points themselves, whose weights would be infinite there."""
    chosen = points[farthest_points(points, wanted, sizes, generator)]
    draws = generators_of(generator, len(sizes))
    noise = [
        torch.randn(want, 3, generator=draw, dtype=points.dtype, device=draw.device if draw else points.device)
        for want, draw in zip(wanted, draws, strict=True)
    ]
    return chosen + 0.1 * spread(width, wanted) * torch.cat(noise).to(points.device)
