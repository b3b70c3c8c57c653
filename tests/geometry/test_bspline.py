"""The B-spline field against its definition: partition of unity, exact refinement, gradients, blocks, bounds."""

import pytest
import torch
from scipy.interpolate import BSpline

from recon.geometry.bspline import BSplineField, Grid, Level, basis, basis_slope, stencil
from recon.geometry.bspline_blocks import Bounds
from recon.geometry.extraction import Bounded, Lattice

GRID = Grid((10, 9, 8), (-1.25, -1.0, -1.0), 0.25)


def random_field(seed: int, bands: int = 2) -> BSplineField:
    """A dense level and some bands about scattered cells, all with random coefficients."""
    torch.manual_seed(seed)
    levels = [Level(GRID)]
    levels[0].values[:-1] = torch.randn(GRID.count)
    for _ in range(bands):
        grid = levels[-1].grid.finer()
        level = Level(grid, (torch.rand(grid.count) < 0.3).nonzero()[:, 0])
        level.values[:-1] = torch.randn(level.size)
        levels.append(level)
    return BSplineField(levels)


def points_in(field: BSplineField, count: int, seed: int = 0) -> torch.Tensor:
    low, high = torch.tensor(field.low), torch.tensor(field.high)
    return low + (high - low) * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def test_basis_is_the_quadratic_b_spline():
    t = torch.linspace(0, 1, 11)
    reference = BSpline.basis_element([0, 1, 2, 3], extrapolate=False)
    expected = torch.stack([torch.from_numpy(reference(t.double().numpy() + 2 - i)) for i in range(3)], dim=1)
    torch.testing.assert_close(basis(t).double(), expected.nan_to_num(), atol=1e-6, rtol=0)


def test_weights_sum_to_one_and_slopes_to_zero():
    rows = stencil(torch.rand(50, 3), 0.1)
    sums = rows.sum(dim=2)
    torch.testing.assert_close(sums[:, 0], torch.ones(50))
    assert sums[:, 1:].abs().max() < 1e-4
    torch.testing.assert_close(basis_slope(torch.rand(9)).sum(dim=1), torch.zeros(9), atol=1e-6, rtol=0)


def test_refinement_is_exact():
    field = random_field(0, bands=0)
    grid = GRID.finer()
    finer = Level(grid)
    finer.values[:-1] = field.box(1, grid.cells(finer.keys), 1).flatten()
    points = points_in(field, 500)
    torch.testing.assert_close(BSplineField([*field.levels, finer])(points), field(points), atol=2e-6, rtol=0)


def test_linear_fields_are_reproduced():
    level = Level(GRID)
    centres = torch.tensor(GRID.low) + (GRID.cells(level.keys) + 0.5) * GRID.cell
    slope = torch.tensor([1.0, -2.0, 0.5])
    level.values[:-1] = centres @ slope + 3
    field = BSplineField([level])
    points = points_in(field, 100)
    torch.testing.assert_close(field(points), points @ slope + 3)
    torch.testing.assert_close(field.gradient(points), slope.expand(100, 3), atol=1e-4, rtol=0)


def test_gradient_is_that_of_the_value():
    field = random_field(1)
    points = points_in(field, 300).double()
    step = 1e-3
    for axis in range(3):
        ahead, behind = points.clone(), points.clone()
        ahead[:, axis] += step
        behind[:, axis] -= step
        slope = (field(ahead.float()) - field(behind.float())).double() / (2 * step)
        exact = field.gradient(points.float())[:, axis].double()
        assert (slope - exact).abs().median() < 0.02
        assert torch.corrcoef(torch.stack((slope, exact)))[0, 1] > 0.995


def test_band_joins_the_coarse_field_without_a_step():
    """Values just inside and just outside of cells that a band stores agree, gradients too (C1)."""
    field = random_field(2, bands=1)
    cell = field.levels[1].grid.cell
    points = points_in(field, 400)
    points[:, 0] = ((points[:, 0] - GRID.low[0]) / cell).round() * cell + GRID.low[0]
    step = torch.tensor([1e-5, 0.0, 0.0])
    inside = (points[:, 0] > field.low[0] + cell) & (points[:, 0] < field.high[0] - cell)
    left, right = field.jet(points[inside] - step), field.jet(points[inside] + step)
    assert (left - right)[:, 0].abs().max() < 2e-3
    assert (left - right).abs().max() < 0.1


def test_blocks_hold_the_values_of_points():
    field = random_field(3)
    assert isinstance(field, Lattice)
    low, origins = (-0.9, -0.7, -0.7), torch.tensor([[0, 0, 0], [3, 5, 1], [7, 2, 4]])
    for spacing, size in ((0.03, 5), (0.0625, 6), (0.2, 3)):
        blocks = field.lattice(origins, size, low, spacing)
        steps = torch.arange(size)
        nodes = origins[:, None] + torch.cartesian_prod(steps, steps, steps)
        points = (torch.tensor(low) + spacing * nodes).reshape(-1, 3)
        torch.testing.assert_close(blocks.flatten(), field(points), atol=2e-5, rtol=0)


@pytest.mark.parametrize("bands", [0, 1, 2, 3])
def test_bounds_hold_everywhere(bands):
    """No block that the bounds rule out may contain the level; some blocks must be ruled out."""
    field = random_field(4, bands)
    assert isinstance(field, Bounded)
    spacing, cells = 0.05, 2
    origins = torch.cartesian_prod(torch.arange(0, 32, 4), torch.arange(0, 26, 4), torch.arange(0, 22, 2))
    for level in (0.0, 1.0, 4.0):
        active = field.active(origins, cells, field.low, spacing, level)
        fine = field.lattice(origins * 4, 9, field.low, spacing / 4)
        holds = (fine.amin(dim=(1, 2, 3)) <= level) & (fine.amax(dim=(1, 2, 3)) >= level)
        assert not (holds & ~active).any()
    assert not active.all()


def test_bounds_tables_bracket_the_coefficients():
    field = random_field(5)
    finest = field.levels[-1]
    for low, high in Bounds(field).tables:
        assert (low <= high).all()
        assert low.min() <= finest.values[:-1].min()
        assert high.max() >= finest.values[:-1].max()


def test_empty_queries():
    field = random_field(6)
    assert field(torch.zeros(0, 3)).shape == (0,)
    none = torch.zeros(0, 3, dtype=torch.long)
    assert field.lattice(none, 4, field.low, 0.1).shape == (0, 4, 4, 4)
    assert field.active(none, 4, field.low, 0.1, 0.0).shape == (0,)
