"""Tracing against surfaces whose intersections are known, and how much of the field it asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.rendering.lowest import lowest_about, lowest_between
from recon.rendering.rays import sphere_interval
from recon.rendering.short_steps import step_along
from recon.rendering.sphere_tracing import SphereTracer

COMPATS = [None, "released"]


def _rays(count: int = 600, seed: int = 0, spread: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    origins = 2.5 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    aims = spread * torch.randn(count, 3, generator=generator)
    return origins, torch.nn.functional.normalize(aims - origins, dim=1)


def _ball(x: torch.Tensor) -> torch.Tensor:
    return x.norm(dim=-1) - 0.5


def _wavy(x: torch.Tensor) -> torch.Tensor:
    """No distance: its slope is up to 1.9, so that steps lead through the surface."""
    return x.norm(dim=-1) - 0.6 + 0.1 * (9 * x[..., 0]).sin() * (9 * x[..., 1]).cos()


@pytest.mark.parametrize("compat", COMPATS)
def test_a_ball_is_hit_where_it_is(compat: str | None) -> None:
    origins, directions = _rays()
    found = SphereTracer(compat=compat)(_ball, origins, directions)
    near, _, hit = sphere_interval(origins, directions, 0.5)
    grazing = ((origins - (origins * directions).sum(1, True) * directions).norm(dim=1) - 0.5).abs() < 1e-3
    assert torch.equal(found.hit[~grazing], hit[~grazing])
    assert hit.any()
    both = hit & found.hit & ~grazing
    assert (found.distance - near)[both].abs().max() < 1e-3
    assert _ball(origins + found.distance[:, None] * directions)[both].abs().max() < 1e-4


@pytest.mark.parametrize("compat", COMPATS)
def test_hits_are_zeros_of_a_field_that_is_no_distance(compat: str | None) -> None:
    origins, directions = _rays(seed=1)
    found = SphereTracer(compat=compat)(_wavy, origins, directions)
    depths = torch.linspace(1.5, 3.5, 4001)
    values = _wavy(origins[:, None] + depths[:, None] * directions[:, None])
    reference = (values < 0).any(dim=1)
    assert (found.hit == reference).float().mean() > 0.99
    both = found.hit & reference
    # Some steps end just behind a surface, back-offs or not, and count as arrived: as in the original.
    value = _wavy(origins + found.distance[:, None] * directions)[both]
    assert (value.abs() < 1e-3).float().mean() > 0.9


@pytest.mark.parametrize("compat", COMPATS)
def test_in_training_rays_past_the_surface_know_where_the_field_is_least(compat: str | None) -> None:
    origins, directions = _rays(seed=2)
    inside = torch.rand(len(origins), generator=torch.Generator().manual_seed(0)) < 0.5
    found = SphereTracer(compat=compat)(_ball, origins, directions, inside, generator=torch.Generator().manual_seed(1))
    nearest = -(origins * directions).sum(dim=1)
    seeks = ~(found.hit & inside)
    least = _ball(origins + nearest[:, None] * directions)
    ours = _ball(origins + found.distance[:, None] * directions)
    assert ((ours - least)[seeks] < (2e-2 if compat else 2e-3)).float().mean() > 0.98
    assert (ours - least)[seeks].mean() < 1e-3
    kept = found.hit & inside
    assert torch.equal(found.distance[kept], SphereTracer(compat=compat)(_ball, origins, directions).distance[kept])


def test_rays_beside_the_sphere_are_not_asked_about() -> None:
    origins, directions = torch.tensor([[0.0, 2.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    asked = []

    def field(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return _ball(x)

    found = SphereTracer()(field, origins, directions, torch.tensor([True]))
    assert sum(asked) == 0
    assert found.distance.item() == 3.0  # nearest to the origin
    assert not found.hit.item()
    assert SphereTracer()(field, origins, directions).distance.item() == 0.0
    empty = SphereTracer()(field, origins[:0], directions[:0], torch.ones(0, dtype=torch.bool))
    assert empty.distance.shape == empty.hit.shape == (0,)


@pytest.mark.parametrize("compat", COMPATS)
def test_a_ray_does_not_depend_on_its_neighbours(compat: str | None) -> None:
    origins, directions = (x.double() for x in _rays(80, seed=3))
    inside = torch.arange(80) % 2 == 0
    tracer, draws = SphereTracer(compat=compat), torch.rand(100, dtype=torch.float64)
    whole = tracer(_wavy, origins, directions, inside, draws=draws)
    halves = [tracer(_wavy, origins[p], directions[p], inside[p], draws=draws) for p in (slice(0, 33), slice(33, 80))]
    assert torch.equal(whole.hit, torch.cat([half.hit for half in halves]))
    torch.testing.assert_close(whole.distance, torch.cat([half.distance for half in halves]), rtol=0, atol=1e-12)
    assert whole.distance.dtype == torch.float64


def test_only_rays_under_way_are_asked_about() -> None:
    origins, directions = _rays(400, seed=4)
    inside = torch.ones(400, dtype=torch.bool)
    asked: dict[str | None, int] = {}
    for compat in COMPATS:
        sizes: list[int] = []

        def field(x: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            sizes.append(len(x))
            return _wavy(x)

        SphereTracer(compat=compat)(field, origins, directions, inside, generator=torch.Generator().manual_seed(0))
        asked[compat] = sum(sizes)
        assert sizes[0] <= 800
        assert sizes[1] <= sizes[0]
    assert asked[None] < 0.4 * asked["released"]
    assert asked[None] < 80 * len(origins) / 3


def test_the_cameras_sphere_is_that_of_the_tracer() -> None:
    origins, directions = torch.tensor([[0.0, 0.0, -5.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    far_ball = lambda x: (x - x.new_tensor([0.0, 0.0, 1.5])).norm(dim=1) - 0.25  # noqa: E731
    assert not SphereTracer()(far_ball, origins, directions).hit.item()
    found = replace(SphereTracer(), radius=2.0)(far_ball, origins, directions)
    assert found.hit.item()
    assert abs(found.distance.item() - 6.25) < 1e-4


def test_a_field_that_is_not_finite_ends_the_search() -> None:
    origins, directions = _rays(50, seed=5)
    found = SphereTracer()(lambda x: torch.full_like(x[:, 0], torch.nan), origins, directions)
    assert found.distance.isfinite().all()


def test_least_values_by_parabolas_are_those_of_parabolas() -> None:
    vertex = torch.tensor([0.3, -0.1, 0.05], dtype=torch.float64)
    at = lambda numbers, t: (t - vertex[numbers]).square() + 0.2  # noqa: E731
    numbers, best = torch.arange(3), torch.tensor([0.25, -0.05, 0.1], dtype=torch.float64)
    ends = torch.full((2, 3), 9.0, dtype=torch.float64)
    torch.testing.assert_close(lowest_about(at, numbers, best, at(numbers, best), -ends[0], ends[1]), vertex)
    between = lowest_between(at, numbers, torch.full_like(best, -1.0), torch.full_like(best, 1.0))
    torch.testing.assert_close(between, vertex)


def test_short_steps_stop_at_the_border() -> None:
    starts = torch.tensor([[0.0, 0.0, -1.05], [1.05, 1.05, 1.05]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    found = step_along(_ball, starts, directions)
    assert found.converged.tolist() == [True, False]
    assert abs(found.points[0, 2].item() + 0.5) < 1e-5
    assert torch.equal(found.points[1], starts[1])
    assert torch.equal(found.value, _ball(found.points))
