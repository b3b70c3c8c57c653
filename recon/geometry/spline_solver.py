"""A signed field from oriented points: the smoothing-spline energy, minimised coarse to fine.

    E(f) = sum_i a_i [ w_i f(x_i)^2 / l^2 + v_i |grad f(x_i) - n_i|^2 ]            surface and normal terms
           + s int h |Hess f|^2 + e int |grad f - d|^2                             curvature and eikonal terms

with areas a_i, the trust length l of positions against normals and the smoothing length s. The weights w, v, h make
the terms robust by iterated re-weighting; d is the direction of the last gradient, which majorises the eikonal loss of
Gropp et al., Implicit Geometric Regularization (ICML 2020). For fixed weights E is quadratic; conjugate gradients on
one level after another, each started from the exact refinement of the last, find its minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.geometry.bspline import BSplineField, Grid, Level
from recon.geometry.spline_levels import Stack, next_level
from recon.geometry.spline_operators import CurvatureTerm, EikonalTerm, PointTerm, Term

BASE = 16
DENSE = 64
EIKONAL_DEPTH = 2
FAR_TRUST = 1.0
"""Trust length of the border: too weak to move the surface, stronger than curvature in the empty corners of the box."""


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
    iterations: tuple[int, ...] = (60, 40, 40, 20, 15)
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Border:
    """Points on the border of the box, which lie on one known side of the surface, far from it.

    Attributes:
        points: (B, 3).
        values: (B,) their distance from the nearest sample, with the sign of that side.
        weights: (B,) one over length.
    """

    points: Tensor
    values: Tensor
    weights: Tensor


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
    grid, cells, stack, border = base_grid(samples.points), BASE, Stack(), None
    while cells <= energy.resolution:
        limit = energy.iterations[min(len(stack.levels), len(energy.iterations) - 1)]
        with one_thread():
            stack.push(next_level(stack.levels, grid, samples.points, energy.margin, dense=cells <= DENSE))
            minimise(stack, samples.merged(grid.cell / 2), energy, limit, border)
            border = border or border_of(BSplineField(stack.levels), samples)
        if progress is not None:
            progress(cells, BSplineField(stack.levels))
        grid, cells = grid.finer(), 2 * cells
    return BSplineField(stack.levels)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one CPU thread.

    The gathers and scatters that take most of the time are serial in torch. The little that could be shared comes in
    thousands of short kernels, before each of which threads wait for each other by spinning: on a busy machine two
    threads took six times the CPU time of one, and four times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def minimise(stack: Stack, samples: Samples, energy: SplineEnergy, limit: int, border: Border | None) -> None:
    """Minimise the energy over the coefficients of all levels, in place, re-weighting between solves."""
    dense = sum(level.is_dense for level in stack.levels) - 1
    finest = stack.levels[-1]
    data = PointTerm(finest, samples.points, samples.normals, samples.areas, samples.areas)
    for turn in range(energy.rounds):
        data.weigh(*point_weights(data.jet(finest.values), samples, energy, turn))
        terms = [volume_terms(stack, depth, energy, turn) for depth in range(len(stack.levels))]
        terms[-1].append(data)
        if border is not None:
            terms[dense].append(border_term(stack.levels[dense], border))
        own: list[Term] = [CurvatureTerm(finest, stack.near[-1], energy.smooth), data]
        stack.diagonals[-1] = torch.stack([term.diagonal() for term in own]).sum(dim=0)
        conjugate_gradients(stack, terms, limit, energy.tolerance)


def border_of(field: BSplineField, samples: Samples) -> Border:
    """What is known of the border of a field's box: the side it is on, by majority in a coarse fit.

    Curvature alone lets a field extrapolate through zero in the empty corners of the box, which makes floaters.
    """
    low, high = samples.points.new_tensor(field.low), samples.points.new_tensor(field.high)
    step = field.levels[0].grid.cell
    axes = [torch.linspace(float(a), float(b), round(float(b - a) / step) + 1) for a, b in zip(low, high, strict=True)]
    points = torch.cartesian_prod(*axes).to(low)
    points = points[((points - low < step / 2) | (high - points < step / 2)).any(dim=1)]
    coarse = samples.merged(step / 2).points
    distance = torch.cat([torch.cdist(part, coarse).amin(dim=1) for part in points.split(1024)])
    side = torch.sign(torch.sign(field(points)).sum())
    return Border(points, side * distance, torch.full_like(distance, step**2 / FAR_TRUST**2))


def border_term(level: Level, border: Border) -> PointTerm:
    """The border's share of the energy, over the coefficients of one dense level."""
    none = torch.zeros_like(border.points)
    return PointTerm(level, border.points, none, border.weights, torch.zeros_like(border.weights), border.values)


def volume_terms(stack: Stack, depth: int, energy: SplineEnergy, turn: int) -> list[Term]:
    """The integrals of the energy over those cells of one level that no finer level covers."""
    level, near = stack.levels[depth], stack.near[depth]
    weights = stack.bare[depth]
    if energy.curvature_scale is not None and turn:
        bent = CurvatureTerm(level, near, 1.0).bending(level.values)
        weights = weights / (1 + (bent / energy.curvature_scale) ** 2).sqrt()
    terms: list[Term] = [CurvatureTerm(level, near, energy.smooth, weights)]
    if energy.eikonal > 0 and depth >= EIKONAL_DEPTH:
        terms.append(EikonalTerm(level, near, energy.eikonal, stack.bare[depth]))
    return terms


def point_weights(jet: Tensor, samples: Samples, energy: SplineEnergy, turn: int) -> tuple[Tensor, Tensor]:
    """Weights of values and of gradients at the points, from the field so far."""
    position, direction = samples.areas / energy.trust**2, samples.areas
    if energy.position_scale is not None and turn:
        position = position / (1 + (jet[:, 0] / energy.position_scale) ** 2)
    if energy.normal_scale is not None and turn:
        off = (jet[:, 1:] - samples.normals).norm(dim=1)
        direction = direction / (1 + (off / energy.normal_scale) ** 2).sqrt()
    return position, direction


def conjugate_gradients(stack: Stack, terms: Sequence[Sequence[Term]], limit: int, tolerance: float) -> None:
    """Minimise a sum of terms over the coefficients of all levels, in place.

    The unknowns are increments on every level at once, each preconditioned by the diagonal of its own level: the
    multilevel diagonal scaling of Bramble, Pasciak and Xu (Math. Comp. 55, 1990), whose number of steps does not grow
    as cells shrink, and which lets the coarse far field follow the fine band.

    Args:
        stack: the levels.
        terms: the energy, for each level the terms over its coefficients.
        limit: most steps.
        tolerance: of the preconditioned residual against that of the start.
    """

    def product(vectors: Sequence[Tensor]) -> list[Tensor]:
        return [sum((t.product(v) for t in row[1:]), row[0].product(v)) for row, v in zip(terms, vectors, strict=True)]

    right = [sum((t.right() for t in row[1:]), row[0].right()) for row in terms]
    last = product([level.values for level in stack.levels])
    residual = stack.restrict([b - a for a, b in zip(last, right, strict=True)])
    inverse = stack.inverse_diagonal()
    solution, step = torch.zeros_like(residual), inverse * residual
    energy = torch.dot(residual, step)
    goal = tolerance**2 * energy
    for _ in range(limit):
        if energy <= goal:
            break
        image = stack.restrict(product(stack.expand(step)))
        rate = energy / torch.dot(step, image)
        solution.add_(rate * step)
        residual.sub_(rate * image)
        scaled = inverse * residual
        last_energy, energy = energy, torch.dot(residual, scaled)
        step.mul_(energy / last_energy).add_(scaled)
    for level, change in zip(stack.levels, stack.expand(solution), strict=True):
        level.values += change
