"""The derivative of an intersection is that of the true one, by the surface and by the camera."""

from __future__ import annotations

import torch

from recon.rendering.intersection import along_normal, along_ray


def _hit(radius: torch.Tensor, origin: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The true intersections with a ball, and all derivatives of them."""
    v = torch.nn.functional.normalize(direction, dim=1)
    middle = -(origin * v).sum(dim=1)
    return origin + (middle - (radius**2 - (origin + middle[:, None] * v).square().sum(dim=1)).sqrt())[:, None] * v


def test_intersections_move_as_the_true_ones() -> None:
    torch.manual_seed(0)
    radius = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    origin = torch.tensor([[0.1, -0.2, -2.0], [0.0, 1.5, 1.0]], dtype=torch.float64, requires_grad=True)
    direction = (0.1 * torch.randn(2, 3, dtype=torch.float64) - origin.detach()).requires_grad_()
    weights = torch.randn(2, 3, dtype=torch.float64)
    true = _hit(radius, origin, direction)
    expected = torch.autograd.grad((true * weights).sum(), [radius, origin, direction])
    v = torch.nn.functional.normalize(direction, dim=1)
    distance = (true - origin).norm(dim=1).detach()
    points = origin + distance[:, None] * v  # as traced: they move with the camera
    value = points.norm(dim=1) - radius
    gradient = torch.nn.functional.normalize(points, dim=1)
    moving = along_ray(origin, v, distance, value, gradient)
    torch.testing.assert_close(moving, true)
    found = torch.autograd.grad((moving * weights).sum(), [radius, origin, direction])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_points_follow_a_growing_ball_along_their_normals() -> None:
    radius = torch.tensor(0.5, requires_grad=True)
    points = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.3, 0.4]])
    scale = 3.0  # a field of any slope
    moving = along_normal(points, scale * (points.norm(dim=1) - radius), scale * points / 0.5)
    torch.testing.assert_close(moving, points)
    for row in range(2):
        for axis in range(3):
            (slope,) = torch.autograd.grad(moving[row, axis], radius, retain_graph=True)
            torch.testing.assert_close(slope, points[row, axis] / 0.5)


def test_grazing_rays_stay_finite() -> None:
    value = torch.zeros(1, requires_grad=True)
    direction = torch.tensor([[1.0, 0.0, 0.0]])
    moving = along_ray(torch.zeros(1, 3), direction, torch.ones(1), value, torch.tensor([[0.0, 1.0, 0.0]]))
    moving.sum().backward()
    assert moving.isfinite().all()
    assert value.grad.isfinite().all()
