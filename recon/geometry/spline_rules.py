"""Constants of the smoothing-spline energy from what is known of a scan: its spacing and its noise.

Found on generated shapes (blobs, a bumpy ball, a machined part, a knot, thin plates) with and without noise, then
frozen; no scan was used. Those of heavy noise are what `benchmarks/spline_constants.py` selects. Lengths are in a frame
where the longest side of the cloud is 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recon.geometry.neighbours import SPACING_K, Neighbours
from recon.geometry.spline_solver import SplineEnergy

NOISY = 0.2
"""Noise in sample spacings above which the noise, not the sampling, sets the smoothing."""

HEAVY = 0.03
"""Noise (longest side 2) at which parts of usual thickness are no wider than the noise."""

FINEST = 256
AREA_SMOOTH = 50
ISOLATED = 10
FAR, STRAY = 4.0, 12.0


@dataclass(frozen=True)
class HeavyRule:
    """What heavy noise changes.

    Attributes:
        smooth: the smoothing length; the trust length has grown long enough to smooth, too.
        normal_scale: of robust normals, None for least squares: where a part is as thin as the noise, points and
            normals of its other side are outliers to this one.
        position_scale: of robust positions, in deviations of the noise, or None.
        even: all points count the same, for balls that hold enough of them reach through the part.
    """

    smooth: float
    normal_scale: float | None
    position_scale: float | None
    even: bool = True


HEAVY_RULE = HeavyRule(0.02, 0.5, 2.0)


@dataclass(frozen=True)
class ScanFacts:
    """What the rule goes by.

    Attributes:
        spacing: sqrt of the median area per point.
        noise: standard deviation of the points about the surface.
        count: number of points.
        estimated: whether normals were estimated from the points.
    """

    spacing: float
    noise: float
    count: int
    estimated: bool

    @property
    def noisy(self) -> bool:
        return self.noise > NOISY * self.spacing

    @property
    def heavy(self) -> bool:
        return self.noisy and self.noise > HEAVY


def choose_energy(facts: ScanFacts) -> SplineEnergy:
    """The energy for a scan."""
    return _noisy(facts) if facts.noisy else _clean(facts)


def _clean(facts: ScanFacts) -> SplineEnergy:
    spacing = facts.spacing
    robust = facts.estimated and facts.count < 10_000
    return SplineEnergy(
        resolution=cells_for(0.7 * spacing, 128),
        trust=min(0.3 * spacing, 0.0045),
        smooth=0.06 * spacing if robust else min(0.08 * spacing, 0.0014),
        normal_scale=0.1 if robust else None,
        rounds=3 if robust else 1,
    )


def _noisy(facts: ScanFacts) -> SplineEnergy:
    # Normals from principal axes are biased where the surface bends, so positions must count for more.
    growth = (facts.noise / 0.01) ** 0.5
    trust = 0.025 * growth if facts.estimated else min(0.035, 0.035 * growth)
    usual = SplineEnergy(
        resolution=cells_for(2 * facts.noise, 64, 128),
        trust=max(trust, 0.025 * growth),
        smooth=0.03 * min(1.0, facts.noise / 0.005),
        curvature_scale=1.0,
        rounds=4,
        iterations=(30, 20, 15, 12),
    )
    return _heavy(usual, facts.noise) if facts.heavy else usual


def _heavy(usual: SplineEnergy, noise: float) -> SplineEnergy:
    rule = HEAVY_RULE
    positions = None if rule.position_scale is None else rule.position_scale * noise
    return replace(usual, smooth=rule.smooth, normal_scale=rule.normal_scale, position_scale=positions)


def cells_for(cell: float, least: int, most: int = FINEST) -> int:
    """The power of two between two bounds whose cells of the box (2.2 long) are at most `cell`."""
    count = least
    while count < most and 2.2 / count > cell:
        count *= 2
    return count


def areas_for(neighbours: Neighbours, facts: ScanFacts) -> np.ndarray:
    """(N,) area of each point.

    Under noise it is read off a ball of three deviations and averaged over many points, or strays, whose neighbours
    are few, would gain weight and inflate the surface. Under heavy noise such a ball holds both sides of a part, so all
    points count the same.
    """
    if not facts.noisy:
        return neighbours.areas()
    if facts.heavy and HEAVY_RULE.even:
        return np.full(len(neighbours), neighbours.areas().mean())
    in_ball = int(np.pi * (3 * facts.noise / facts.spacing) ** 2)
    return neighbours.areas(max(SPACING_K, min(in_ball, len(neighbours) // 8)), smooth=AREA_SMOOTH)


def inliers(points: np.ndarray) -> np.ndarray:
    """(N,) False for points that stand alone.

    A point is a stray if its tenth neighbour is `FAR` times farther than that of the points around it (a lone point
    near a denser surface), or `STRAY` times farther than the median (a cloud of strays). Even a density that varies a
    hundredfold over a surface changes slowly from point to point and stays within both.
    """
    distance, index = Neighbours(points).query(ISOLATED + 1)
    reach = distance[:, -1]
    around = np.median(reach[index[:, 1:]], axis=1)
    return (reach <= FAR * np.maximum(around, 1e-12)) & (reach <= STRAY * np.median(reach))
