"""Points spread evenly over the zero level of a field (Yifan et al. 2021, "Iso-Points", section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.farthest import farthest_points
from recon.geometry.newton import SDF, TOLERANCE, Projected, newton, pieces
from recon.geometry.packed import Counts, Generators, counts_of, generators_of, kept_counts
from recon.geometry.resampling import Compat, relax
from recon.geometry.upsampling import upsample
from recon.geometry.wlop import wlop

STARTS = 4  # random starts a wanted point,
NEAREST = 1.5  # of which so many are projected, by the field's absolute value
THINNED = 0.7  # share of the wanted points that is chosen; the others fill holes
TOP_UPS = 2  # rounds that replace points lost on the way


@dataclass(frozen=True)
class IsoPoints:
    """Points on one or several surfaces.

    Attributes:
        points: (N, 3), packed.
        gradients: (N, 3) of the field there; normals, not of unit length.
        counts: points a cloud; 0 where there was no surface.
    """

    points: Tensor
    gradients: Tensor
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def normals(self) -> Tensor:
        """(N, 3) unit normals."""
        return normalize(self.gradients, dim=1)

    def clouds(self) -> list[IsoPoints]:
        """Each cloud on its own."""
        parts = zip(self.points.split(self.counts), self.gradients.split(self.counts), self.counts, strict=True)
        return [IsoPoints(points, gradients, (count,)) for points, gradients, count in parts]


def extract(
    sdf: SDF | Sequence[SDF],
    wanted: int,
    start: Tensor | None = None,
    counts: Counts = None,
    radius: float = 1.0,
    tolerance: float = TOLERANCE,
    generator: Generators = None,
    device: torch.device | None = None,
    chunk: int | None = None,
    compat: Compat = None,
) -> IsoPoints:
    """Iso-points of one field, or of several at once.

    Args:
        sdf: a field about a unit object, or one a cloud.
        wanted: points a cloud; fewer come where the surface cannot be held.
        start: (N, 3) points to begin with, such as the last iso-points; else random ones in the cube.
        counts: starting points a cloud.
        radius: of the sphere about the origin beyond which points are dropped.
        tolerance: of the field's absolute value.
        generator: of all draws; one for all, or one a cloud, which makes each cloud what it is alone.
        device: where random starts are, if not where the generator is.
        chunk: points evaluated at once; by default what suits the device.
        compat: ``"released"`` consolidates by WLOP and up-samples, as the original does, which leaves points less
            even. The default chooses points far from each other, fills the holes, and lets the points push apart.
    """
    fields = list(sdf) if isinstance(sdf, Sequence) else [sdf]
    draws = generators_of(generator, len(fields))
    surface = _Surface(fields, radius, tolerance, chunk)
    sizes = [STARTS * wanted] * len(fields) if start is None else counts_of(start, counts)
    if start is None:
        start = torch.cat([_cube(STARTS * wanted, radius, draw, device) for draw in draws])
        if compat is None:
            start, sizes = surface.nearest(start, sizes, round(NEAREST * wanted))
    recipe = _released if compat == "released" else _even
    return recipe(surface, surface.project(start, sizes), wanted, generator)


def _cube(count: int, radius: float, draw: torch.Generator | None, device: torch.device | None) -> Tensor:
    uniform = torch.rand(count, 3, generator=draw, device=draw.device if draw is not None else device)
    return ((2 * uniform - 1) * radius).to(device or uniform.device)


@dataclass(frozen=True)
class _Surface:
    """The zero levels of fields within a sphere."""

    fields: list[SDF]
    radius: float
    tolerance: float
    chunk: int | None

    def nearest(self, points: Tensor, counts: list[int], wanted: int) -> tuple[Tensor, list[int]]:
        """Those where the fields are least, which are soonest there and lie about the surface as a shell."""
        clouds = []
        with torch.no_grad():
            for field, cloud in zip(self.fields, points.split(counts), strict=True):
                value = torch.cat([field(part) for part in pieces(cloud, self.chunk)]).abs()
                clouds.append(cloud[value.topk(min(wanted, len(cloud)), largest=False).indices])
        return torch.cat(clouds), [len(cloud) for cloud in clouds]

    def grow(self, found: IsoPoints, wanted: int) -> IsoPoints:
        """As many as wanted, if those that are missing arrive."""
        points, sizes = upsample(found.points, wanted, counts=found.counts)
        parts = zip(points.split(sizes), sizes, found.counts, strict=True)
        added = self.project(
            torch.cat([part[: size - count] for part, size, count in parts]),
            [size - count for size, count in zip(sizes, found.counts, strict=True)],
        )
        return _merged(added, found)

    def project(self, points: Tensor, counts: list[int]) -> IsoPoints:
        """Those that arrive."""
        found = newton(
            self.fields, points, tolerance=self.tolerance, radius=self.radius, chunk=self.chunk, counts=counts
        )
        return self.kept(found, counts)

    def kept(self, found: Projected, counts: list[int]) -> IsoPoints:
        """Those that have arrived within the sphere."""
        keep = found.converged & (found.points.norm(dim=1) < self.radius)
        return IsoPoints(found.points[keep], found.gradients[keep], tuple(kept_counts(keep, counts)))


def _even(surface: _Surface, found: IsoPoints, wanted: int, generator: Generators) -> IsoPoints:
    some = [min(count, round(THINNED * wanted)) for count in found.counts]
    chosen = farthest_points(found.points, some, found.counts, generator)
    found = surface.grow(IsoPoints(found.points[chosen], found.gradients[chosen], tuple(some)), wanted)
    counts = list(found.counts)
    relaxed = relax(surface.fields, found.points, found.gradients, tolerance=surface.tolerance, counts=counts)
    found = surface.kept(relaxed, counts)
    for _ in range(TOP_UPS):
        if all(count == wanted or count < 2 for count in found.counts):
            break
        found = surface.grow(found, wanted)
    return found


def _merged(first: IsoPoints, second: IsoPoints) -> IsoPoints:
    """The points of both, cloud by cloud."""
    pairs = [cloud for pair in zip(first.clouds(), second.clouds(), strict=True) for cloud in pair]
    counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
    return IsoPoints(torch.cat([c.points for c in pairs]), torch.cat([c.gradients for c in pairs]), counts)


def _released(surface: _Surface, found: IsoPoints, wanted: int, generator: Generators) -> IsoPoints:
    ratios = [min(0.5, wanted / max(count, 1)) for count in found.counts]
    points, kept = wlop(found.points, ratios, counts=found.counts, generator=generator)
    found = surface.project(points, kept)
    found = surface.project(*upsample(found.points, kept, k=31, counts=found.counts))
    points, grown = upsample(found.points, wanted, counts=found.counts)
    found = surface.project(points, grown)
    return surface.project(*upsample(found.points, grown, k=31, counts=found.counts))
