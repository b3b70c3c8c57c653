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
    padded = torch.nn.utils.rnn.pad_sequence(list(points.detach().split(sizes)), batch_first=True)
    slots, device = torch.arange(padded.shape[1], device=points.device), points.device
    # Slots beyond a cloud's end are at no distance, so that they are never the farthest.
    nearest = torch.where(slots < torch.tensor(sizes, device=device)[:, None], torch.inf, -1.0).to(points.dtype)
    chosen = torch.zeros(len(sizes), max(wanted), dtype=torch.long, device=device)
    current = torch.tensor(_first(sizes, generators_of(generator, len(sizes))), device=device)
    rows, axes = torch.arange(len(sizes), device=device), padded.permute(2, 0, 1).contiguous()
    for number in range(max(wanted)):
        chosen[:, number] = current
        seen = padded[rows, current].t()[..., None]
        square = (axes[0] - seen[0]).square_()
        square.addcmul_(axes[1] - seen[1], axes[1] - seen[1]).addcmul_(axes[2] - seen[2], axes[2] - seen[2])
        torch.minimum(nearest, square, out=nearest)
        current = nearest.argmax(dim=1)
    starts = [sum(sizes[:cloud]) for cloud in range(len(sizes))]
    return torch.cat([chosen[cloud, :want] + starts[cloud] for cloud, want in enumerate(wanted)])


def _first(sizes: list[int], generators: list[torch.Generator | None]) -> list[int]:
    return [
        int(torch.randint(max(size, 1), (1,), generator=draw, device=draw.device)) if draw is not None else 0
        for size, draw in zip(sizes, generators, strict=True)
    ]
