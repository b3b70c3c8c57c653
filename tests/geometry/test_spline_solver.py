"""The spline energy: its operators against their definition, its levels, and the solver against direct solves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.geometry.bspline import BSplineField, Grid, Level
from recon.geometry.neighbours import Neighbours
from recon.geometry.spline_levels import Stack, next_level, refined
from recon.geometry.spline_operators import Adjacency, CurvatureTerm, EikonalTerm, PointTerm
from recon.geometry.spline_rules import ScanFacts, areas_for, cells_for, choose_energy, inliers
from recon.geometry.spline_solver import Samples, SplineEnergy, base_grid, conjugate_gradients, fit_spline, one_thread

GRID = Grid((9, 8, 7), (-1.0, -1.0, -1.0), 0.25)


def banded_level(seed: int = 0) -> Level:
    """Two thirds of the cells of a small grid, with random coefficients."""
    torch.manual_seed(seed)
    level = Level(GRID, (torch.rand(GRID.count) < 0.66).nonzero()[:, 0])
    level.values[:-1] = torch.randn(level.size)
    return level


def sphere(count: int, radius: float = 0.8, noise: float = 0.0, seed: int = 0) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=1)
    points = (radius + noise * torch.randn(count, 1, generator=draw)) * normals
    return Samples(points, normals, torch.full((count,), 4 * torch.pi * radius**2 / count))


def terms_of(level: Level):
    near = Adjacency(level)
    samples = sphere(40, 0.7)
    weights = torch.rand(40) + 0.5
    ones = torch.ones_like(level.values)
    return [
        PointTerm(level, samples.points * 0.9, samples.normals, 9 * weights, weights, torch.rand(40)),
        CurvatureTerm(level, near, 0.3, 0.5 + torch.rand(len(level.values))),
        EikonalTerm(level, near, 0.7, ones),
    ]


def dense_matrix(term, size: int) -> torch.Tensor:
    eye = torch.eye(size + 1)[:size]
    return torch.stack([term.product(row)[:size] for row in eye])


@pytest.mark.parametrize("pick", [0, 1, 2])
def test_operators_are_symmetric_positive_and_know_their_diagonal(pick):
    level = banded_level()
    term = terms_of(level)[pick]
    matrix = dense_matrix(term, level.size)
    torch.testing.assert_close(matrix, matrix.T, atol=1e-5, rtol=1e-4)
    assert torch.linalg.eigvalsh(matrix.double()).min() > -1e-4 * matrix.abs().max()
    torch.testing.assert_close(term.diagonal()[:-1], matrix.diagonal(), atol=1e-5, rtol=1e-4)
    assert term.product(level.values)[-1] == 0
    assert term.diagonal()[-1] == 0
    assert term.right()[-1] == 0


def test_point_term_is_the_sum_of_squares():
    """Its gradient by autograd of the definition equals product - right."""
    level = Level(GRID)
    level.values[:-1] = torch.randn(level.size, generator=torch.Generator().manual_seed(1))
    term = terms_of(level)[0]
    values = level.values.clone().requires_grad_()
    jet = torch.einsum("nkj,nj->nk", term.rows, values[term.slots.long()])
    loss = (term.weights[:, 0] * (jet[:, 0] - term.targets[:, 0]) ** 2).sum()
    loss = loss + (term.weights[:, 1] * ((jet[:, 1:] - term.targets[:, 1:]) ** 2).sum(dim=1)).sum()
    (slope,) = torch.autograd.grad(loss / 2, values)
    torch.testing.assert_close(term.product(level.values) - term.right(), slope, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(term.jet(level.values)[:, 0], BSplineField([level])(sphere(40, 0.7).points * 0.9))


def test_curvature_energy_against_quadrature():
    """x^2 + xy has the Hessian [[2, 1], [1, 0]]: |H|^2 = 6 in every cell whose neighbours are all there."""
    level = Level(Grid((20, 20, 20), (-1.0, -1.0, -1.0), 0.1))
    centres = torch.tensor(level.grid.low) + (level.grid.cells(level.keys) + 0.5) * level.grid.cell
    level.values[:-1] = centres[:, 0] ** 2 + centres[:, 0] * centres[:, 1]
    term = CurvatureTerm(level, Adjacency(level), 2.0)
    energy = torch.dot(level.values, term.product(level.values))
    pure, mixed = 18 * 20 * 20 * 4, 19 * 19 * 20 * 2
    assert energy == pytest.approx(2.0 * level.grid.cell**3 * (pure + mixed), rel=1e-3)
    bent = term.bending(level.values)[:-1].view(20, 20, 20)
    torch.testing.assert_close(bent[1:-1, 1:-1, 1:-1], torch.full((18, 18, 18), 6**0.5), atol=2e-3, rtol=0)


def test_curvature_is_free_for_linear_fields_alone():
    level = banded_level()
    centres = GRID.cells(level.keys).float()
    term = CurvatureTerm(level, Adjacency(level), 1.0)
    linear = torch.cat((centres @ torch.tensor([1.0, 2.0, -1.0]) + 5, torch.zeros(1)))
    assert term.product(linear).abs().max() < 1e-3
    dense = dense_matrix(CurvatureTerm(full := Level(GRID), Adjacency(full), 1.0), full.size)
    assert int((torch.linalg.eigvalsh(dense.double()) < 1e-6 * dense.abs().max()).sum()) == 4


def test_eikonal_term_majorises_the_eikonal_loss():
    """At the last field the term's slope is that of int (|grad f| - 1)^2: zero for a unit slope, outward for less."""
    level = Level(GRID)
    centres = GRID.cells(level.keys).float() * GRID.cell
    for slope, sign in ((1.0, 0.0), (0.8, -1.0), (1.3, 1.0)):
        level.values[:-1] = slope * centres[:, 0]
        term = EikonalTerm(level, Adjacency(level), 1.0, torch.ones_like(level.values))
        pull = torch.dot(level.values, term.product(level.values) - term.right())
        assert pull.abs() < 1e-4 if sign == 0 else pull * sign > 0.01


def two_levels() -> Stack:
    stack = Stack()
    stack.push(next_level([], GRID, torch.zeros(1, 3), 1, dense=True))
    centres = torch.tensor(GRID.low) + (GRID.cells(stack.levels[0].keys) + 0.5) * GRID.cell
    bumps = 0.1 * torch.rand(GRID.count, generator=torch.Generator().manual_seed(2))
    stack.levels[0].values[:-1] = (centres - 0.1).norm(dim=1) - 0.3 + bumps
    points = sphere(30, 0.3).points
    stack.push(next_level(stack.levels, GRID.finer(), points, 1, dense=False))
    return stack


def test_a_new_level_leaves_the_field_as_it_is():
    stack = two_levels()
    fine = stack.levels[1]
    assert 0 < fine.size < fine.grid.count
    points = sphere(200, 0.4).points
    torch.testing.assert_close(
        BSplineField(stack.levels)(points), BSplineField(stack.levels[:1])(points), atol=2e-6, rtol=0
    )
    third = Level(fine.grid.finer())
    expected = BSplineField(stack.levels).box(2, third.grid.cells(third.keys), 1).flatten()
    torch.testing.assert_close(refined(stack.levels, third), expected, atol=1e-5, rtol=0)


def test_restrict_is_the_transpose_of_expand():
    stack = two_levels()
    free = torch.cat(stack.free)
    draw = torch.Generator().manual_seed(3)
    one = torch.randn(len(free), generator=draw) * free
    other = [torch.randn(len(level.values), generator=draw) for level in stack.levels]
    for part in other:
        part[-1] = 0
    left = sum(torch.dot(a, b) for a, b in zip(stack.expand(one), other, strict=True))
    assert left.item() == pytest.approx(torch.dot(one, stack.restrict(other)).item(), rel=1e-4)


def test_every_cell_is_counted_once():
    """The curvature of a field is the same whether a fine level covers a part of it or not, to discretisation."""
    stack = two_levels()
    coarse, fine = stack.levels
    cover = stack.bare[0][:-1].view(GRID.shape)
    assert 0 < cover.sum() < GRID.count
    full = stack.near[1].inner[:-1].bool()
    parents = coarse.slots[GRID.keys(fine.grid.cells(fine.keys[full]) >> 1)].long()
    counted = torch.bincount(parents, minlength=coarse.size) == 8
    assert (counted == (cover.flatten() == 0)).all()


def test_conjugate_gradients_find_the_direct_solution():
    stack = Stack()
    stack.push(Level(GRID))
    term = terms_of(stack.levels[0])
    matrix = sum(dense_matrix(t, GRID.count).double() for t in term)
    right = sum(t.right()[:-1].double() for t in term)
    stack.diagonals[0] = sum(t.diagonal() for t in term)
    conjugate_gradients(stack, [term], 400, 1e-6)
    found = stack.levels[0].values[:-1].double()
    exact = torch.linalg.lstsq(matrix, right[:, None]).solution[:, 0]

    def energy(c):
        return c @ matrix @ c - 2 * right @ c

    assert energy(found) - energy(exact) < 1e-5 * energy(exact).abs()


def test_fit_of_a_sphere_is_its_distance():
    seen = []
    field = fit_spline(sphere(3000), SplineEnergy(resolution=32), lambda cells, _: seen.append(cells))
    assert seen == [16, 32]
    points = sphere(500, 0.8, seed=1).points
    assert field(points).abs().max() < 2e-3
    assert field(0.9 * points).mean() == pytest.approx(-0.08, abs=0.004)
    torch.testing.assert_close(field.gradient(points), points / 0.8, atol=0.05, rtol=0)


def test_fit_is_the_same_every_time():
    one, two = (
        fit_spline(sphere(300), SplineEnergy(resolution=32, iterations=(9, 6))).levels[-1].values for _ in range(2)
    )
    assert torch.equal(one, two)


def test_narrow_bands_resolve_what_dense_levels_blur(monkeypatch):
    """A small sphere in a large box: the finest levels are bands, and the field is right far from them too."""
    monkeypatch.setattr("recon.geometry.spline_solver.DENSE", 16)
    small = sphere(2000, 0.2)
    rows = (torch.cat((t, t[:1])) for t in (small.normals, small.areas))
    samples = Samples(torch.cat((small.points, small.points[:1] + 1.0)), *rows)
    errors = []
    for resolution in (16, 64):
        field = fit_spline(samples, SplineEnergy(resolution=resolution, trust=0.004))
        errors.append(field(small.points).abs().mean())
    assert field.levels[-1].size < 0.5 * field.levels[-1].grid.count
    assert errors[1] < 0.05 * errors[0]
    assert errors[1] < 5e-4
    assert field(torch.zeros(1, 3)) < -0.1


def test_merging_keeps_the_sums():
    samples = sphere(2000)
    merged = samples.merged(0.3)
    assert len(merged.points) < 500
    torch.testing.assert_close(merged.areas.sum(), samples.areas.sum())
    torch.testing.assert_close(
        (merged.areas[:, None] * merged.points).sum(dim=0),
        (samples.areas[:, None] * samples.points).sum(dim=0),
        atol=1e-4,
        rtol=0,
    )


def test_robust_normals_outvote_wrong_signs():
    """A twelfth of the normals point inwards; re-weighting brings the field back to the sphere's."""
    samples = sphere(1000)
    flipped = samples.normals.clone()
    flipped[::12] *= -1
    wrong = Samples(samples.points, flipped, samples.areas)
    plain = SplineEnergy(resolution=16, trust=0.02, smooth=0.01, rounds=4)
    robust = replace(plain, normal_scale=0.1)
    probe = sphere(500, 0.9, seed=2).points
    errors = [(fit_spline(wrong, energy)(probe) - 0.1).abs().mean() for energy in (plain, robust)]
    assert errors[1] < 0.6 * errors[0]


def test_base_grid_covers_the_points_with_a_ring():
    points = torch.tensor([[-1.0, -0.2, 0.0], [1.0, 0.3, 0.1]])
    grid = base_grid(points)
    low, cell = torch.tensor(grid.low), grid.cell
    high = low + torch.tensor(grid.shape) * cell
    assert (points.amin(dim=0) - low >= cell + 0.1 - 1e-5).all()
    assert (high - points.amax(dim=0) >= cell + 0.1 - 1e-5).all()
    assert grid.shape[0] == 18
    assert grid.shape[2] < 10


def test_rule_tells_noise_from_sampling():
    clean = choose_energy(ScanFacts(0.0164, 0.0005, 35_000, False))
    noisy = choose_energy(ScanFacts(0.0164, 0.01, 35_000, False))
    assert clean.curvature_scale is None
    assert clean.resolution == 256
    assert noisy.curvature_scale is not None
    assert noisy.trust > clean.trust
    assert [cells_for(c, 64) for c in (1.0, 0.03, 0.01, 1e-5)] == [64, 128, 256, 256]


def test_rule_counts_all_points_the_same_under_heavy_noise():
    neighbours = Neighbours(sphere(400, noise=0.05).points.numpy())
    some, heavy = (ScanFacts(0.05, noise, 400, True) for noise in (0.02, 0.05))
    assert np.ptp(areas_for(neighbours, some)) > 0
    assert np.ptp(areas_for(neighbours, heavy)) == 0
    assert areas_for(neighbours, heavy).sum() == pytest.approx(neighbours.areas().sum())
    assert choose_energy(heavy).smooth < choose_energy(some).smooth
    assert choose_energy(heavy).trust > choose_energy(some).trust


def test_inliers_keep_uneven_density_and_drop_strays():
    draw = np.random.default_rng(0)
    surface = draw.standard_normal((6000, 3))
    surface /= np.linalg.norm(surface, axis=1, keepdims=True)
    thinned = surface[draw.random(6000) < np.where(surface[:, 0] > 0, 1.0, 0.05)]
    strays = draw.uniform(-3, 3, (30, 3))
    strays = strays[np.abs(np.linalg.norm(strays, axis=1) - 1) > 0.6]
    kept = inliers(np.concatenate((thinned, strays)))
    assert kept[: len(thinned)].mean() > 0.998
    assert kept[len(thinned) :].mean() < 0.2
    assert Neighbours(thinned).areas().max() > 20 * Neighbours(thinned).areas().min()


def test_threads_are_as_before_also_while_progress_is_shown():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []
    try:
        fit_spline(
            sphere(100), SplineEnergy(resolution=16, iterations=(2,)), lambda *_: seen.append(torch.get_num_threads())
        )
        with pytest.raises(ValueError, match="in the middle"), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError("in the middle")
        assert [*seen, torch.get_num_threads()] == [2, 2]
    finally:
        torch.set_num_threads(before)
