"""A straightforward tracer with masks over all rays, as IDR's program has it: what ours is timed against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.rendering.rays import sphere_interval

SDF = Callable[[Tensor], Tensor]
THRESHOLD, STEPS, BACK_OFFS, SAMPLES, SECANT = 5e-5, 10, 3, 100, 8


@dataclass
class MaskedTracer:
    """One call of the field for the front ends and one for the back ends, on masks; all results are of full size."""

    sdf: SDF
    origins: Tensor
    directions: Tensor

    def points(self, distance: Tensor) -> Tensor:
        return self.origins + distance[:, None] * self.directions

    def asked(self, distance: Tensor, mask: Tensor) -> Tensor:
        values = torch.zeros_like(distance)
        if mask.any():
            values[mask] = self.sdf(self.points(distance)[mask])
        return values

    @torch.no_grad()
    def trace(self, inside: Tensor | None, draws: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Distances and hits; `inside` in training only."""
        near, far, crosses = sphere_interval(self.origins, self.directions)
        front, back, stuck = self.march(near.clone(), far.clone(), crosses)
        hit = front < back
        if stuck.any():
            distance, found = self.sample(front, back, stuck, inside)
            front[stuck], hit[stuck] = distance[stuck], found[stuck]
        if inside is not None:
            seek = ~stuck & ~(hit & inside)
            beside = seek & ~crosses
            front[beside] = -(self.origins * self.directions).sum(dim=1)[beside]
            seek &= crosses
            start = torch.where(hit, front, near)[seek]
            depths = draws * (far[seek] - start)[:, None] + start[:, None]
            front[seek] = depths.gather(1, self.along(depths, seek).argmin(dim=1, keepdim=True))[:, 0]
        return front, hit

    def march(self, front: Tensor, back: Tensor, crosses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        open_front, open_back = crosses.clone(), crosses.clone()
        ahead, behind = self.asked(front, open_front), self.asked(back, open_back)
        for step in range(STEPS + 1):
            f, b = torch.where(open_front, ahead, 0.0), torch.where(open_back, behind, 0.0)
            f[f <= THRESHOLD], b[b <= THRESHOLD] = 0.0, 0.0
            open_front, open_back = open_front & (f > THRESHOLD), open_back & (b > THRESHOLD)
            if step == STEPS or not (open_front.any() or open_back.any()):
                break
            front, back = front + f, back - b
            ahead, behind = self.asked(front, open_front), self.asked(back, open_back)
            for turn in range(BACK_OFFS):
                through, through_back = ahead < 0, behind < 0
                if not (through.any() or through_back.any()):
                    break
                front[through] -= 0.5 / 2**turn * f[through]
                back[through_back] += 0.5 / 2**turn * b[through_back]
                ahead[through] = self.asked(front, through)[through]
                behind[through_back] = self.asked(back, through_back)[through_back]
            open_front, open_back = open_front & (front < back), open_back & (front < back)
        return front, back, open_front

    def along(self, depths: Tensor, mask: Tensor) -> Tensor:
        points = self.origins[mask][:, None] + depths[..., None] * self.directions[mask][:, None]
        return torch.cat([self.sdf(part) for part in points.reshape(-1, 3).split(100_000)]).view_as(depths)

    def sample(self, front: Tensor, back: Tensor, stuck: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        every = front[:, None] + torch.linspace(0, 1, SAMPLES) * (back - front)[:, None]
        depths = every[stuck]
        values = self.along(depths, stuck)
        first = (values.sign() * torch.arange(SAMPLES, 0, -1)).argmin(dim=1, keepdim=True)
        found = values.gather(1, first)[:, 0] < 0
        narrow = found if inside is None else found & inside[stuck]
        distance, hit = torch.zeros_like(front), torch.zeros_like(stuck)
        least = depths.gather(1, values.argmin(dim=1, keepdim=True))[:, 0]
        distance[stuck], hit[stuck] = torch.where(narrow, depths.gather(1, first)[:, 0], least), found
        if narrow.any():
            whole = stuck.clone()
            whole[stuck] = narrow
            ends = [x[narrow].gather(1, at[narrow])[:, 0] for at in (first - 1, first) for x in (depths, values)]
            distance[whole] = self.secant(whole, *ends)
        return distance, hit

    def secant(self, mask: Tensor, low: Tensor, f_low: Tensor, high: Tensor, f_high: Tensor) -> Tensor:
        origins, directions = self.origins[mask], self.directions[mask]
        between = low - f_low * (high - low) / (f_high - f_low)
        for _ in range(SECANT):
            value = self.sdf(origins + between[:, None] * directions)
            above, below = value > 0, value < 0
            low[above], f_low[above] = between[above], value[above]
            high[below], f_high[below] = between[below], value[below]
            between = low - f_low * (high - low) / (f_high - f_low)
        return between
