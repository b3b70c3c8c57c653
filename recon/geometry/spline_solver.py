"""A signed field from oriented points: the smoothing-spline energy, minimised coarse to fine.

    E(f) = sum_i a_i [ w_i f(x_i)^2 / l^2 + v_i |grad f(x_i) - n_i|^2 ]            surface and normal terms
           + s int h |Hess f|^2 + e int |grad f - d|^2                             curvature and eikonal terms

with areas a_i, the trust length l of positions against normals and the smoothing length s. The weights w, v, h make
the terms robust by iterated re-weighting; d is the direction of the last gradient, which majorises the eikonal loss of
Gropp et al., Implicit Geometric Regularization (ICML 2020). For fixed weights E is quadratic; conjugate gradients on
one level after another, each started from the exact refinement of the last, find its minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from recon.geometry.bspline import BSplineField, Grid, Level
from recon.geometry.spline_operators import CurvatureTerm, EikonalTerm, Neighbours, PointTerm, Term

BASE = 16
DENSE = 64


@dataclass(frozen=True)
class Samples:
    """What the field is fitted to, in a box of longest side 2 about the origin.

    Attributes:
        points: (N, 3) float32.
        normals: (N, 3) float32, outward.
        areas: (N,) float32, the surface that each point stands for.
    """

    points: Tensor
    normals: Tensor
    areas: Tensor

    def merged(self, size: float) -> Samples:
        """The weighted means of the points in every cube of a given size: the same sums, in fewer terms."""
        low = self.points.amin(dim=0)
        cells = ((self.points - low) / size).long()
        extent = cells.amax(dim=0) + 1
        keys = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
        unique, place = keys.unique(return_inverse=True)
        if len(unique) == len(keys):
            return self
        area = self.areas.new_zeros(len(unique)).index_add_(0, place, self.areas)
        share = (self.areas / area[place])[:, None]
        sums = self.points.new_zeros(len(unique), 6)
        sums.index_add_(0, place, share * torch.cat((self.points, self.normals), dim=1))
        return Samples(sums[:, :3].contiguous(), sums[:, 3:].contiguous(), area)


@dataclass(frozen=True)
class SplineEnergy:
    """The constants of the energy and of its minimisation.

    Attributes:
        resolution: cells along the box at the finest level: 16 times a power of two.
        trust: l, the length at which an error of position costs as much as a normal off by one.
        smooth: s, the smoothing length.
        eikonal: e, without unit; acts from the 64^3 level on.
        curvature_scale: k of h = 1 / sqrt(1 + (|Hess f| / k)^2), which turns the square of the curvature into its
            absolute value beyond k (one over length), or None for h = 1.
        normal_scale: k of v = 1 / sqrt(1 + (|grad f - n| / k)^2), or None for v = 1.
        position_scale: k of w = 1 / (1 + (f / k)^2), a length, or None for w = 1.
        rounds: re-weighted solves a level.
        margin: cells that the narrow bands extend to either side of the surface and the points.
        iterations: most conjugate-gradient steps at the levels 16, 32, 64, 128, ...; the last is used beyond.
        tolerance: stop once the residual has fallen by this factor.
    """

    resolution: int = 128
    trust: float = 0.005
    smooth: float = 0.0013
    eikonal: float = 0.0
    curvature_scale: float | None = None
    normal_scale: float | None = None
    position_scale: float | None = None
    rounds: int = 1
    margin: int = 2
    iterations: tuple[int, ...] = (300, 200, 120, 40, 30)
    tolerance: float = 1e-3


Progress = Callable[[int, BSplineField], None]


def base_grid(points: Tensor, extent: float = 1.1) -> Grid:
    """The coarsest grid: cells of `2 extent / 16`, covering the points' box with a margin of 0.1 and a ring."""
    cell = 2 * extent / BASE
    low, high = points.amin(dim=0).double() - (extent - 1), points.amax(dim=0).double() + (extent - 1)
    counts = ((high - low) / cell - 1e-6).ceil().clamp_min(4)
    corner = (low + high) / 2 - counts * cell / 2 - cell
    x, y, z = (int(n) + 2 for n in counts)
    a, b, c = corner.tolist()
    return Grid((x, y, z), (a, b, c), cell)


def fit_spline(samples: Samples, energy: SplineEnergy, progress: Progress | None = None) -> BSplineField:
    """Minimise the energy, coarse to fine.

    Args:
        samples: oriented points in a box of longest side 2.
        energy: its constants.
        progress: called with (cells along the box, field so far) after each level.
    """
    grid, cells, levels = base_grid(samples.points), BASE, []
    while cells <= energy.resolution:
        level = next_level(levels, grid, samples, energy.margin, dense=cells <= DENSE)
        levels.append(level)
        limit = energy.iterations[min(len(levels), len(energy.iterations)) - 1]
        minimise(level, free_of(level), samples.merged(grid.cell / 2), energy, limit, cells >= 64)
        if progress is not None:
            progress(cells, BSplineField(levels))
        grid, cells = grid.finer(), 2 * cells
    return BSplineField(levels)


def next_level(levels: Sequence[Level], grid: Grid, samples: Samples, margin: int, dense: bool) -> Level:
    """A finer level, started from the exact refinement of the levels so far."""
    device = samples.points.device
    if not levels:
        return Level(grid, device=device)
    keys = None if dense else band(levels[-1], grid, samples.points, margin + 1)
    level = Level(grid, keys, device)
    field = BSplineField(list(levels))
    for start in range(0, level.size, CHUNK):
        part = level.keys[start : start + CHUNK]
        level.values[start : start + len(part)] = field.coefficients(len(levels), grid.cells(part))
    return level


CHUNK = 1 << 18


def band(coarse: Level, grid: Grid, points: Tensor, margin: int) -> Tensor:
    """Flat numbers of the cells within `margin` of the points or of the coarse surface, ascending."""
    parents = torch.zeros(coarse.grid.shape, dtype=torch.bool, device=points.device)
    parents.view(-1)[coarse.keys] = crossed(coarse)
    mask = parents
    for axis in range(3):
        mask = mask.repeat_interleave(2, dim=axis)
    cells, _ = grid.locate(points)
    mask.view(-1)[grid.keys(cells)] = True
    for axis in range(3):
        mask = dilated(mask, axis, margin)
    return mask.view(-1).nonzero()[:, 0]


def dilated(mask: Tensor, axis: int, steps: int) -> Tensor:
    """True wherever `mask` is within `steps` along an axis."""
    out = mask.clone()
    size = mask.shape[axis]
    for step in range(1, steps + 1):
        out.narrow(axis, step, size - step).logical_or_(mask.narrow(axis, 0, size - step))
        out.narrow(axis, 0, size - step).logical_or_(mask.narrow(axis, step, size - step))
    return out


def crossed(level: Level) -> Tensor:
    """(M,) whether the field changes sign between the corners of each stored cell."""
    near = Neighbours(level)
    corner = level.values
    for minus in near.minus:
        corner = corner + corner[minus]
    low = high = torch.sign(corner)
    for plus in near.plus:
        low, high = torch.minimum(low, low[plus]), torch.maximum(high, high[plus])
    return ((low < 0) & (high > 0))[:-1]


def free_of(level: Level) -> Tensor:
    """(M + 1,) 1 for coefficients that may change: all of a dense level, all but the outer layer of a band."""
    free = torch.ones_like(level.values)
    free[-1] = 0
    return free if level.is_dense else free * Neighbours(level).inner


def minimise(
    level: Level, free: Tensor, samples: Samples, energy: SplineEnergy, limit: int, eikonal: bool
) -> None:
    """Minimise the energy over the free coefficients of one level, in place, re-weighting between solves."""
    near = Neighbours(level)
    count = len(samples.points)
    data = PointTerm(level, samples.points, samples.normals, samples.areas, samples.areas)
    for turn in range(energy.rounds):
        position, direction = point_weights(data.jet(level.values), samples, energy, turn)
        data.weigh(position, direction)
        bent = curvature_weights(level, near, energy, turn)
        terms: list[Term] = [data, CurvatureTerm(level, near, energy.smooth, bent)]
        if energy.eikonal > 0 and eikonal:
            terms.append(EikonalTerm(level, near, energy.eikonal))
        level.values = conjugate_gradients(terms, level.values, free, limit, energy.tolerance)
    assert len(data.rows) == count


def point_weights(jet: Tensor, samples: Samples, energy: SplineEnergy, turn: int) -> tuple[Tensor, Tensor]:
    """Weights of values and of gradients at the points, from the field so far."""
    position, direction = samples.areas / energy.trust**2, samples.areas
    if energy.position_scale is not None and turn:
        position = position / (1 + (jet[:, 0] / energy.position_scale) ** 2)
    if energy.normal_scale is not None and turn:
        off = (jet[:, 1:] - samples.normals).norm(dim=1)
        direction = direction / (1 + (off / energy.normal_scale) ** 2).sqrt()
    return position, direction


def curvature_weights(level: Level, near: Neighbours, energy: SplineEnergy, turn: int) -> Tensor | None:
    """(M + 1,) weights of the curvature term, from the field so far."""
    if energy.curvature_scale is None or not turn:
        return None
    bent = CurvatureTerm(level, near, 1.0).bending(level.values)
    return 1 / (1 + (bent / energy.curvature_scale) ** 2).sqrt()


def conjugate_gradients(terms: Sequence[Term], start: Tensor, free: Tensor, limit: int, tolerance: float) -> Tensor:
    """Minimise a sum of terms over the free entries, preconditioned by the diagonal.

    Args:
        terms: the energy.
        start: (M + 1,) first guess; entries that are not free keep its values.
        free: (M + 1,) 1 or 0.
        limit: most steps.
        tolerance: of the preconditioned residual against that of the start.
    """

    def product(vector: Tensor) -> Tensor:
        return sum((term.product(vector) for term in terms[1:]), terms[0].product(vector)).mul_(free)

    diagonal = sum((term.diagonal() for term in terms[1:]), terms[0].diagonal())
    inverse = free / diagonal.clamp_min(1e-20)
    solution = start.clone()
    residual = sum((term.right() for term in terms[1:]), terms[0].right()).mul_(free) - product(start)
    step = inverse * residual
    energy = torch.dot(residual, step)
    goal = tolerance**2 * energy
    for _ in range(limit):
        if energy <= goal:
            break
        image = product(step)
        rate = energy / torch.dot(step, image)
        solution.add_(rate * step)
        residual.sub_(rate * image)
        scaled = inverse * residual
        last, energy = energy, torch.dot(residual, scaled)
        step.mul_(energy / last).add_(scaled)
    return solution
