"""More iso-points where a measure is high: hard examples, or strong curvature (Iso-Points, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.near import Trees
from recon.geometry.packed import Counts, counts_of, diagonals, spread
from recon.geometry.resampling import Compat

CHILDREN = 8
WIDEST = 0.2  # radius of neighbourhoods in units of the object, which lies in the unit sphere
MOST = 50  # reference points that count as salient
SHARE = 20  # or this share of all


def insert(
    points: Tensor,
    reference: Tensor,
    metric: Tensor,
    counts: Counts = None,
    reference_counts: Counts = None,
    compat: Compat = None,
) -> tuple[Tensor, list[int]]:
    """New points about those that lie near reference points with a high metric.

    Args:
        points: (N, 3), packed, of unit objects.
        reference: (M, 3) the points that were measured.
        metric: (M,) what was measured, of any scale.
        counts: points a cloud.
        reference_counts: reference points a cloud.
        compat: ``"released"`` takes neighbours that are too far to lie at the origin, towards which their children
            then collapse; else these are not born.

    Returns:
        (K, 3) children, off the surface, without the `points`, and how many each cloud has.
    """
    sizes, measured = counts_of(points, counts), counts_of(reference, reference_counts)
    chosen = torch.cat([salient(part) for part in metric.split(measured)])
    spacing = (diagonals(points, sizes) / points.new_tensor(measured).clamp(min=1)).sqrt()
    reach = spread((8 * spacing).clamp(max=WIDEST), sizes)
    highs = [int(part.sum()) for part in chosen.split(measured)]
    high = Trees(reference[chosen], highs).query(points, 1, sizes).within(4 * reach)
    close = high.valid & (high.square > 0) & (high.square < 4 * spread(spacing, sizes).square())
    near = Trees(points, sizes).around(CHILDREN).within(reach)
    neighbour = points[near.index]
    if compat == "released":
        neighbour, born = torch.where(near.valid[..., None], neighbour, 0.0), close.expand(-1, CHILDREN)
    else:
        born = close & near.valid
    children = 2 / 3 * points[:, None] + 1 / 3 * neighbour
    return children[born], [int(part.sum()) for part in born.split(sizes)]


def salient(metric: Tensor) -> Tensor:
    """(M,) which are high: above twice the median or half the largest; the top few if none are, or too many."""
    if len(metric) == 0:
        return torch.zeros(0, dtype=torch.bool, device=metric.device)
    few = min(MOST, len(metric) // SHARE)
    high = metric > torch.minimum(2 * metric.median(), 0.5 * metric.max())
    if not 0 < int(high.sum()) <= few:
        high = torch.zeros_like(high)
        high[metric.topk(max(few, 1)).indices] = True
    return high
