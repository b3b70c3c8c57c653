"""Where rays meet the zero level of a field: sphere tracing from both sides (Yariv et al. 2020, supplement 1.1).

Each ray is traced from where it enters the sphere of interest and, backwards, from where it leaves. Rays on which this
has not ended after some steps are sampled, and a first change of sign is narrowed down by the secant method. In
training, rays that miss, or that should, also need the place where the field is least, for the loss on masks.

Rays still under way are lists of numbers, front and back ends in one list, so that the field is asked once a step and
only about them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.rendering.lowest import lowest_about, lowest_between, lowest_of_draws
from recon.rendering.rays import sphere_interval

SDF = Callable[[Tensor], Tensor]
PIECE = 1 << 17  # samples that are held at once
STRIDE = 9  # every so many-th of the samples is taken first
STEEPEST = 2.0  # slope that a field is not expected to exceed; a distance's is 1


@dataclass(frozen=True)
class Traced:
    """What tracing found on N rays.

    Attributes:
        distance: (N,) along the ray: of the surface where it is hit, else of where the field is about least; on rays
            that miss the sphere 0, and in training that of the point nearest to the origin.
        hit: (N,) whether there is a surface.
    """

    distance: Tensor
    hit: Tensor


@dataclass(frozen=True)
class SphereTracer:
    """The settings of the search; the defaults are IDR's.

    Attributes:
        radius: of the sphere of interest about the origin.
        threshold: the field's value below which a ray has arrived.
        steps: of sphere tracing.
        back_offs: steps back, half of the last step and then halves of halves, after one that went through a surface.
        back_off: share of the last step that the first of them takes back.
        samples: on rays on which tracing has not ended.
        secant_steps: within the two samples about the first surface.
        compat: ``"released"``: the least value of a ray is sought among as many random depths as `samples`, the same
            for all rays, as in the authors' program; by default near the least value that tracing has met, which takes
            a fraction of the evaluations.
    """

    radius: float = 1.0
    threshold: float = 5e-5
    steps: int = 10
    back_offs: int = 3
    back_off: float = 0.5
    samples: int = 100
    secant_steps: int = 8
    compat: str | None = None

    @torch.no_grad()
    def __call__(
        self,
        sdf: SDF,
        origins: Tensor,
        directions: Tensor,
        inside: Tensor | None = None,
        interval: tuple[Tensor, Tensor, Tensor] | None = None,
        draws: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Traced:
        """Trace rays.

        Args:
            sdf: (M, 3) to (M,), with any gradients; they are not recorded.
            origins: (N, 3).
            directions: (N, 3) unit.
            inside: (N,) whether the pixel belongs to the object; given in training alone, where rays that do not hit
                or are outside get the distance of the field's least value.
            interval: near and far distances and whether there are any, each (N,); by default the sphere's.
            draws: (samples,) in [0, 1], the random depths of the released program; by default drawn.
            generator: of those.
        """
        near, far, crosses = interval or sphere_interval(origins, directions, self.radius)
        rays = _Rays(sdf, origins, directions)
        march = self._march(rays, near, far, crosses)
        distance, hit = march.front.clone(), march.front < march.back
        stuck = march.stuck
        if len(stuck):
            distance[stuck], hit[stuck] = self._sample(rays, stuck, march.front, march.back, inside)
        if inside is None:
            return Traced(distance, hit)
        seek = ~(hit & inside)
        seek[stuck] = False  # the least of their samples is known
        beside = (seek & ~crosses).nonzero()[:, 0]
        distance[beside] = -(origins[beside] * directions[beside]).sum(dim=1)
        through, past = ((seek & crosses & kind).nonzero()[:, 0] for kind in (hit, ~hit))
        if self.compat == "released":
            if draws is None:
                draws = torch.rand(self.samples, generator=generator, device=origins.device, dtype=origins.dtype)
            # A surface that should not be there is pushed away from behind it.
            numbers, start = torch.cat([through, past]), torch.cat([distance[through], near[past]])
            distance[numbers] = lowest_of_draws(rays.at, numbers, start, far[numbers], draws, PIECE)
        else:
            distance[through] = lowest_between(rays.at, through, distance[through], march.back[through])
            distance[past] = lowest_about(rays.at, past, *march.lowest(past), near[past], far[past])
        return Traced(distance, hit)

    def _march(self, rays: _Rays, near: Tensor, far: Tensor, crosses: Tensor) -> March:
        """Both ends of all rays towards each other; end e of ray i is number e N + i."""
        count = len(near)
        ends = torch.cat([near, far])
        best, least = ends.clone(), torch.full_like(ends, torch.inf)
        active = crosses.nonzero()[:, 0]
        active = torch.cat([active, active + count])
        sign = 1.0 - 2.0 * (active >= count).to(ends.dtype)

        def ask(numbers: Tensor) -> Tensor:
            value = rays.at(numbers % count, ends[numbers])
            lower = value < least[numbers]
            best[numbers[lower]], least[numbers[lower]] = ends[numbers[lower]], value[lower]
            return value

        value = ask(active)
        for step in range(self.steps + 1):
            under_way = value > self.threshold
            active, sign, value = active[under_way], sign[under_way], value[under_way]
            if step == self.steps or not len(active):
                break
            ends[active] += sign * value
            ahead = ask(active)
            through = (ahead < 0).nonzero()[:, 0]
            for turn in range(self.back_offs):
                if not len(through):
                    break
                back = (1 - self.back_off) / 2**turn
                ends[active[through]] -= back * sign[through] * value[through]
                ahead[through] = ask(active[through])
                through = through[ahead[through] < 0]
            ray = active % count
            apart = ends[ray] < ends[ray + count]
            active, sign, value = active[apart], sign[apart], ahead[apart]
        front, back_end = ends.chunk(2)
        return March(front, back_end, active[active < count], best.view(2, -1), least.view(2, -1))

    @torch.no_grad()
    def first_surface(self, sdf: SDF, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor) -> Traced:
        """The same by samples and the secant method alone, on all rays, between `near` and `far` (N,)."""
        every = torch.arange(len(near), device=near.device)
        return Traced(*self._sample(_Rays(sdf, origins, directions), every, near, far, None))

    def _sample(
        self, rays: _Rays, numbers: Tensor, near: Tensor, far: Tensor, inside: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Distance and hit on the rays `numbers`."""
        steps = torch.linspace(0, 1, self.samples, dtype=near.dtype, device=near.device)
        found = []
        for part in numbers.split(max(PIECE // self.samples, 1)):
            start = near[part]
            depths = start[:, None] + steps * (far[part] - start)[:, None]
            if self.compat == "released":
                values = rays.at(part.repeat_interleave(self.samples), depths.flatten()).view_as(depths)
            else:
                values = _values_where_needed(rays, part, depths)
            found.append(self._first(rays, depths, values, part, inside))
        return torch.cat([distance for distance, _ in found]), torch.cat([hit for _, hit in found])

    def _first(
        self, rays: _Rays, depths: Tensor, values: Tensor, part: Tensor, inside: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The first surface between samples, else the least of them."""
        hit = (values < 0).any(dim=1)
        least = values.argmin(dim=1, keepdim=True)
        distance = depths.gather(1, least)[:, 0]
        narrow = (hit if inside is None else hit & inside[part]).nonzero()[:, 0]
        high = (values[narrow] < 0).int().argmax(dim=1, keepdim=True)
        low = (high - 1).clamp(min=0)
        bracket = [x[narrow].gather(1, at)[:, 0] for at in (low, high) for x in (depths, values)]
        distance[narrow] = self._secant(rays, part[narrow], *bracket)
        return distance, hit

    def _secant(self, rays: _Rays, numbers: Tensor, low: Tensor, f_low: Tensor, high: Tensor, f_high: Tensor) -> Tensor:
        """The zero between `low`, where the field is positive, and `high`, where it is negative."""
        between = _zero(low, f_low, high, f_high)
        for _ in range(self.secant_steps):
            value = rays.at(numbers, between)
            above, below = value > 0, value < 0
            low, f_low = torch.where(above, between, low), torch.where(above, value, f_low)
            high, f_high = torch.where(below, between, high), torch.where(below, value, f_high)
            between = _zero(low, f_low, high, f_high)
        return between


def _values_where_needed(rays: _Rays, numbers: Tensor, depths: Tensor) -> Tensor:
    """Values (M, samples) at increasing depths, infinite where no first surface and no least value can be.

    Some samples are taken first. The others between two of them matter if the field, at its steepest, can come down
    to zero and up again on the way, before a surface is met for sure; or next to the least value, if none is met.
    """
    count = depths.shape[1]
    coarse = torch.arange(0, count - 1 + STRIDE, STRIDE, device=depths.device).clamp(max=count - 1)
    values = torch.full_like(depths, torch.inf)
    some = rays.at(numbers.repeat_interleave(len(coarse)), depths[:, coarse].flatten()).view(len(depths), -1)
    values[:, coarse] = some
    low, high = some[:, :-1], some[:, 1:]
    open_yet = (low < 0).cumsum(dim=1) == 0
    wanted = open_yet & ((high < 0) | (low + high < STEEPEST * depths[:, coarse].diff(dim=1)))
    least = some.argmin(dim=1, keepdim=True)
    beside = torch.cat([least - 1, least], dim=1).clamp(0, low.shape[1] - 1)
    wanted |= torch.zeros_like(wanted).scatter_(1, beside, True) & (some >= 0).all(dim=1, keepdim=True)
    fine = wanted.repeat_interleave(coarse.diff(), dim=1)
    fine[:, coarse[:-1]] = False
    row, column = fine.nonzero(as_tuple=True)
    values[row, column] = rays.at(numbers[row], depths[row, column])
    return values


def _zero(low: Tensor, f_low: Tensor, high: Tensor, f_high: Tensor) -> Tensor:
    return low - f_low * (high - low) / (f_high - f_low)


@dataclass(frozen=True)
class March:
    """Where sphere tracing ended.

    Attributes:
        front: (N,) distances of the front ends.
        back: (N,) of the back ends.
        stuck: (S,) the rays whose front ends are still under way.
        best: (2, N) distances of the least value that each end has met.
        least: (2, N) those values.
    """

    front: Tensor
    back: Tensor
    stuck: Tensor
    best: Tensor
    least: Tensor

    def lowest(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Distance and value (M,) of the least that either end of some rays has met."""
        least, end = self.least[:, numbers].min(dim=0)
        return self.best[end, numbers], least


@dataclass(frozen=True)
class _Rays:
    """The field along rays."""

    sdf: SDF
    origins: Tensor
    directions: Tensor

    def at(self, numbers: Tensor, distance: Tensor) -> Tensor:
        """The field (M,) on the rays `numbers` (M,) at distances (M,)."""
        if not len(numbers):
            return distance
        points = torch.addcmul(self.origins[numbers], self.directions[numbers], distance[:, None])
        return self.sdf(points)
