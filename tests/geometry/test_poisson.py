"""The spectral solver against known solutions, and its field as a lattice."""

import numpy as np
import pytest
import torch

from recon.geometry.extraction import Lattice
from recon.geometry.poisson import GridField, Lattice3, solve_poisson


def sphere(count: int = 20000, radius: float = 0.8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    normals = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    normals = torch.nn.functional.normalize(normals, dim=1)
    return radius * normals, normals, torch.full((count,), 4 * np.pi * radius**2 / count)


@pytest.fixture(scope="module")
def field() -> GridField:
    return solve_poisson(*sphere(), resolution=64, smoothing=0.03)


def test_field_is_a_lattice(field: GridField) -> None:
    assert isinstance(field, Lattice)


def test_indicator_jumps_by_one_and_is_negative_inside(field: GridField) -> None:
    inside, outside = field(torch.tensor([[0.0, 0.0, 0.0], [1.1, 1.1, 1.1]]))
    assert inside < 0 < outside
    assert outside - inside == pytest.approx(1.0, abs=0.03)


def test_level_set_is_the_sphere(field: GridField) -> None:
    direction = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    assert (field(0.77 * direction) < 0).all()
    assert (field(0.83 * direction) > 0).all()


def test_gradient_points_outward(field: GridField) -> None:
    points, normals, _ = sphere(500, seed=1)
    gradient = torch.nn.functional.normalize(field.gradient(points), dim=1)
    assert (gradient * normals).sum(dim=1).mean() > 0.98


def test_solution_has_the_divergence_of_the_normals() -> None:
    """Laplace(chi) = -div V, checked with waves of its own on a smooth vector field of one wave."""
    points, normals, areas = sphere(3000)
    field = solve_poisson(points, normals, areas, resolution=32)
    grid = field.grid
    keys, weights = grid.corners(points)
    waves = grid.waves(torch.device("cpu"))
    dense = [grid.splat(keys, weights, normals[:, a] * areas) for a in range(3)]
    divergence = sum(torch.fft.rfftn(d) * 1j * w for d, w in zip(dense, waves, strict=True))
    laplace = torch.fft.rfftn(field.values) * -grid.square(torch.device("cpu"))
    assert (laplace - divergence)[:15, :15, :15].abs().max() < 1e-3 * divergence.abs().max()


def test_splat_keeps_the_sum_and_centre() -> None:
    grid = Lattice3.about(1.0, 16)
    points = torch.tensor([[0.1, -0.23, 0.4]])
    dense = grid.splat(*grid.corners(points), torch.tensor([3.0])) * grid.cell**3
    assert dense.sum() == pytest.approx(3.0, rel=1e-5)
    axis = grid.low + grid.cell * torch.arange(16)
    for a in range(3):
        others = [b for b in range(3) if b != a]
        assert float((dense.sum(dim=others) * axis).sum() / 3) == pytest.approx(float(points[0, a]), abs=1e-5)


def test_lattice_gives_nodes_exactly_and_interpolates_between() -> None:
    grid = Lattice3.about(1.2, 16)
    values = torch.randn(16, 16, 16)
    field = GridField(grid, values)
    origins = torch.tensor([[0, 0, 0], [8, 4, 12]])
    native = field.lattice(origins, 9, field.low, grid.cell)
    assert torch.equal(native[0], values[:9, :9, :9])
    assert torch.equal(native[1, :, :, 4], values[torch.arange(8, 17) % 16][:, 4:13, 0])
    finer = field.lattice(origins, 5, field.low, grid.cell / 2)
    steps = torch.arange(5)
    nodes = origins[:, None] + steps[:, None]
    x, y, z = (nodes[:, :, a] for a in range(3))
    at = torch.stack(
        torch.broadcast_tensors(x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]), dim=-1
    ).reshape(-1, 3)
    torch.testing.assert_close(finer.flatten(), field(grid.low + grid.cell / 2 * at), atol=1e-5, rtol=1e-5)


def test_solution_is_differentiable_in_the_points() -> None:
    points, normals, areas = sphere(200)
    points.requires_grad_()
    solve_poisson(points, normals, areas, resolution=16)(torch.zeros(1, 3)).sum().backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    assert points.grad.abs().max() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_field() -> None:
    cpu = solve_poisson(*sphere(2000), resolution=32, smoothing=0.03)
    gpu = solve_poisson(*(t.cuda() for t in sphere(2000)), resolution=32, smoothing=0.03)
    torch.testing.assert_close(gpu.values.cpu(), cpu.values, atol=1e-4, rtol=1e-4)


def test_gaps_between_samples_carry_no_waves_of_the_grid() -> None:
    """Half a sphere: across the opening the field is smooth, not rippled by the grid's highest frequency."""
    points, normals, areas = sphere(400)
    kept = points[:, 2] > 0
    field = solve_poisson(points[kept], normals[kept], areas[kept], resolution=64, smoothing=0.08)
    ripple = field.values[1:-1] - (field.values[2:] + field.values[:-2]) / 2
    alternating = ripple[1:] - ripple[:-1]
    assert alternating.abs().max() < 0.05
