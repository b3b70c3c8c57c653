"""Several clouds in one tensor: points one after the other, and how many each cloud has.

So what is done point by point needs no loop and no padding, and a cloud's own numbers (its extent, its count) are
spread over its points. All functions of iso-points take such pairs; `counts` None means one cloud.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Counts = Sequence[int] | None
Generators = torch.Generator | Sequence[torch.Generator] | None
TINY = 1e-17


def counts_of(points: Tensor, counts: Counts) -> list[int]:
    """Points a cloud.

    Raises:
        ValueError: if they do not add up to the rows of `points`.
    """
    if counts is None:
        return [len(points)]
    if sum(counts) != len(points):
        raise ValueError(f"Clouds of {list(counts)} points do not make {len(points)} rows.")
    return list(counts)


def kept_counts(keep: Tensor, counts: Counts) -> list[int]:
    """Points a cloud after ``points[keep]`` of a mask (N,)."""
    return [int(part.sum()) for part in keep.split(counts_of(keep, counts))]


def spread(values: Tensor, counts: Sequence[int]) -> Tensor:
    """(N, 1) of (B,): to each point its cloud's value."""
    return values.repeat_interleave(torch.tensor(counts, device=values.device))[:, None]


def diagonals(points: Tensor, counts: Sequence[int]) -> Tensor:
    """(B,) lengths of the clouds' bounding boxes from corner to corner; 0 of an empty cloud."""
    return torch.stack([_extent(cloud).norm() for cloud in points.split(list(counts))])


def _extent(cloud: Tensor) -> Tensor:
    return cloud.amax(dim=0) - cloud.amin(dim=0) if len(cloud) else cloud.new_zeros(3)


def means(values: Tensor, counts: Sequence[int]) -> Tensor:
    """(B,) means of (N,) values over clouds; 0 of an empty cloud."""
    return torch.stack([part.sum() / max(len(part), 1) for part in values.split(list(counts))])


def precisions(points: Tensor, counts: Sequence[int]) -> Tensor:
    """(N, 1) points per diagonal of the bounding box: 1 / sigma^2 of the original's kernels, made for unit objects."""
    number = points.new_tensor(counts)
    return spread(number / guarded(diagonals(points, counts)), counts)


def generators_of(generator: Generators, count: int) -> list[torch.Generator | None]:
    """One generator a cloud; a single one serves all in turn."""
    if generator is None or isinstance(generator, torch.Generator):
        return [generator] * count
    if len(generator) != count:
        raise ValueError(f"{len(generator)} generators cannot serve {count} clouds.")
    return list(generator)


def guarded(divisor: Tensor, least: float = TINY) -> Tensor:
    """A divisor with its sign, but no nearer to zero than `least`; zero counts as positive."""
    return torch.where(divisor < 0, -1.0, 1.0) * divisor.abs().clamp(min=least)
