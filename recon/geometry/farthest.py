"""Subsets that are spread as far as can be: farthest point sampling, batched over packed clouds."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.packed import Counts, Generators, counts_of, generators_of


def farthest_points(points: Tensor, wanted: list[int], counts: Counts = None, generator: Generators = None) -> Tensor:
    """Choose points one by one, each the farthest from those chosen before (Gonzalez, 1985).

    All clouds advance together, one choice of each at a time.

    Args:
        points: (N, 3), packed.
        wanted: how many a cloud, at most as many as it has.
        counts: points a cloud.
        generator: draws the first point of each cloud; without one it is the cloud's first.

    Returns:
        (sum(wanted),) rows of `points`, in the order of choice, cloud by cloud.
    """
    sizes = counts_of(points, counts)
    if any(not 0 <= want <= size for want, size in zip(wanted, sizes, strict=True)):
        raise ValueError(f"Clouds of {sizes} points have no {wanted} to choose.")
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.long, device=points.device)
    clouds = [cloud - cloud.mean(dim=0) for cloud in points.detach().split(sizes)]
    padded, device = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True), points.device
    square, one = padded.square().sum(dim=2, keepdim=True), torch.ones_like(padded[..., :1])
    # |x - y|^2 as one product: (x, |x|^2, 1) (-2 y, 1, |y|^2).
    left = torch.cat([padded, square, one], dim=2).transpose(1, 2).contiguous()
    right = torch.cat([-2 * padded, one, square], dim=2)[..., None, :]
    slots, rows = torch.arange(padded.shape[1], device=device), torch.arange(len(sizes), device=device)
    # Slots beyond a cloud's end are at no distance, so that they are never the farthest; nor are those chosen again.
    nearest = torch.where(slots < torch.tensor(sizes, device=device)[:, None], torch.inf, -2.0).to(points.dtype)
    chosen = torch.zeros(len(sizes), max(wanted), dtype=torch.long, device=device)
    current = torch.tensor(_first(sizes, generators_of(generator, len(sizes))), device=device)
    distance = torch.empty_like(nearest)[:, None]
    for number in range(max(wanted)):
        chosen[:, number] = current
        torch.bmm(right[rows, current], left, out=distance)
        torch.minimum(nearest, distance[:, 0], out=nearest)
        nearest[rows, current] = -1.0
        current = nearest.argmax(dim=1)
    starts = [sum(sizes[:cloud]) for cloud in range(len(sizes))]
    return torch.cat([chosen[cloud, :want] + starts[cloud] for cloud, want in enumerate(wanted)])


def _first(sizes: list[int], generators: list[torch.Generator | None]) -> list[int]:
    return [
        int(torch.randint(max(size, 1), (1,), generator=draw, device=draw.device)) if draw is not None else 0
        for size, draw in zip(sizes, generators, strict=True)
    ]
