"""Projection onto level sets, and where gradients come from."""

import pytest
import torch

from recon.geometry.newton import newton, value_and_gradient
from recon.nets.sdf import MLP
from recon.nets.siren import Siren
from tests.geometry.fields import FIELDS, seeded, sphere, torus


def starts(count: int = 300) -> torch.Tensor:
    return torch.rand(count, 3, generator=seeded()) * 2 - 1


@pytest.mark.parametrize("name", list(FIELDS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_arrive_and_gradients_are_theirs(name: str, dtype: torch.dtype) -> None:
    found = newton(FIELDS[name], starts().to(dtype), 15, 1e-6)
    assert found.converged.float().mean() > 0.97
    value, gradient = value_and_gradient(FIELDS[name], found.points)
    assert (value[found.converged].abs() <= 1e-6).all()
    torch.testing.assert_close(found.gradients, gradient)
    assert found.points.dtype == dtype


def test_no_iterations_leave_the_points_where_they_are() -> None:
    """The original takes 0 for its default of ten."""
    points = starts()
    found = newton(sphere, points, 0)
    assert torch.equal(found.points, points)
    assert torch.equal(found.converged, sphere(points).abs() <= 5e-5)
    torch.testing.assert_close(found.gradients, points / points.norm(dim=1, keepdim=True))


def test_steps_are_cut() -> None:
    points = starts()
    moved = newton(lambda p: 10 * sphere(p), points, 1, longest=0.03).points
    assert (moved - points).norm(dim=1).max() <= 0.03 + 1e-6


def test_only_points_that_have_not_arrived_are_evaluated() -> None:
    seen: list[int] = []

    def counted(p: torch.Tensor) -> torch.Tensor:
        seen.append(len(p))
        return sphere(p)

    points = starts()
    points[:200] *= 0.6 / points[:200].norm(dim=1, keepdim=True)
    newton(counted, points, chunk=1000)
    assert seen[0] == 300
    assert max(seen[1:]) == 100


def test_points_beyond_twice_the_radius_are_given_up() -> None:
    points = torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 1.0]])
    found = newton(sphere, points, 100, radius=1.0)
    assert found.converged.tolist() == [False, True]
    assert found.points[0, 2] > 4.8


def test_values_that_are_no_numbers_never_arrive() -> None:
    found = newton(lambda p: sphere(p) * torch.where(p[:, 0] > 0, 1.0, torch.nan), starts())
    assert not found.converged[starts()[:, 0] < -0.2].any()


def test_errors_of_the_field_come_through() -> None:
    def broken(p: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        newton(broken, starts())


@pytest.mark.parametrize("net", ["siren", "softplus"])
def test_closed_form_of_networks_equals_autograd(net: str) -> None:
    torch.manual_seed(0)
    field = Siren(width=32, depth=3) if net == "siren" else MLP(widths=(32,) * 4, skip=(2,))
    value, gradient = value_and_gradient(field, starts(), chunk=128)
    plain, expected = value_and_gradient(lambda p: field(p), starts())
    torch.testing.assert_close(value, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    assert not gradient.requires_grad
    assert all(p.grad is None for p in field.parameters())


def test_autograd_works_in_inference_mode() -> None:
    with torch.inference_mode():
        found = newton(torus, starts())
    assert found.converged.float().mean() > 0.98


@pytest.mark.parametrize("plain", [True, False])
def test_autocast_does_not_reach_the_projection(plain: bool) -> None:
    torch.manual_seed(0)
    net = MLP(widths=(32,) * 3, skip=(), radius=0.6)
    field = (lambda p: net(p)) if plain else net
    expected = newton(field, starts())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = newton(field, starts())
    torch.testing.assert_close(found.points, expected.points)
    assert torch.equal(found.converged, expected.converged)


def test_several_fields_of_several_clouds() -> None:
    points = starts()
    both = newton([sphere, torus], points, counts=[100, 200])
    apart = [newton(sphere, points[:100]), newton(torus, points[100:])]
    for ours, *parts in zip(both.all(), *(part.all() for part in apart), strict=True):
        assert torch.equal(ours, torch.cat(parts))
