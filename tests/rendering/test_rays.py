"""Where rays pass through spheres and boxes, from outside, from within, and along a side."""

from __future__ import annotations

import torch

from recon.rendering.rays import box_interval, sphere_interval, sphere_span


def _row(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def test_entry_and_exit_of_a_sphere_lie_on_it() -> None:
    torch.manual_seed(0)
    origins = 3 * torch.nn.functional.normalize(torch.randn(200, 3, dtype=torch.float64), dim=1)
    directions = torch.nn.functional.normalize(0.5 * torch.randn(200, 3, dtype=torch.float64) - origins, dim=1)
    near, far, hit = sphere_interval(origins, directions, 1.5)
    assert hit.sum() > 0
    for distance in (near, far):
        points = origins + distance[:, None] * directions
        torch.testing.assert_close(points[hit].norm(dim=1), torch.full_like(near, 1.5)[hit])
    assert (near[hit] < far[hit]).all()
    assert not near[~hit].any()
    assert not far[~hit].any()


def test_rays_from_within_start_where_they_are() -> None:
    near, far, hit = sphere_interval(_row(0, 0, 0.25), _row(0, 0, 1))
    assert (near.item(), far.item(), hit.item()) == (0.0, 0.75, True)


def test_the_released_start_from_within_is_mirrored() -> None:
    near, far, _ = sphere_interval(_row(0, 0, 0.25), _row(0, 0, 1), compat="released")
    assert (near.item(), far.item()) == (1.25, 0.75)


def test_entry_and_exit_of_a_box_lie_on_it() -> None:
    torch.manual_seed(1)
    origins = torch.randn(300, 3, dtype=torch.float64) * 2
    directions = torch.nn.functional.normalize(torch.randn(300, 3, dtype=torch.float64), dim=1)
    near, far, hit = box_interval(origins, directions, 0.8)
    leaving = far > 0
    points = origins + far[:, None] * directions
    torch.testing.assert_close(points.abs().amax(dim=1)[hit & leaving], torch.full_like(far, 0.8)[hit & leaving])
    middle = origins + 0.5 * (near + far)[:, None] * directions
    assert (middle.abs().amax(dim=1) <= 0.8)[hit & leaving].all()
    within = origins.abs().amax(dim=1) < 0.8
    assert within.any()
    assert hit[within].all()
    assert not near[within].any()


def test_rays_along_a_side_of_the_box() -> None:
    origins = torch.tensor([[-2.0, 0.5, 0.0], [-2.0, 1.5, 0.0], [0.0, 0.0, 0.0], [-2.0, 1.0, 1.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    near, far, hit = box_interval(origins, directions)
    assert hit.tolist() == [True, False, True, True]
    assert near.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert far.tolist() == [3.0, 0.0, 1.0, 3.0]


def test_the_span_is_one_radius_either_way() -> None:
    near, far = sphere_span(_row(0, 5, -3), _row(0, 0, 2), radius=0.5)
    assert (near.item(), far.item()) == (1.0, 2.0)
