"""Visibility in a z-buffer against rays through the field."""

import pytest
import torch

from recon.rendering.visibility import visible
from tests.geometry.fields import FIELDS, even

SIZE = (240, 320)


def cameras() -> tuple[torch.Tensor, torch.Tensor]:
    """Two at a distance of 2, along z and along -x."""
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[0, 2, 3] = -2.0
    poses[1, :3, :3] = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    poses[1, 0, 3] = 2.0
    k = torch.tensor([[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]])
    return k.expand(2, 3, 3), poses


def unhidden(name: str, points: torch.Tensor, normals: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """(N,) whether the field is positive all the way to the camera."""
    way = centre - points
    steps = torch.linspace(0.01, 1, 300)
    least = torch.stack([FIELDS[name](points + step * way) for step in steps]).amin(dim=0)
    return ((normals * way).sum(dim=1) > 0) & (least > -1e-3)


@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_seen_points_are_those_that_rays_reach(name: str) -> None:
    points, normals = even(name, 2000)
    intrinsics, poses = cameras()
    seen = visible(points, 3 * normals, intrinsics, poses, SIZE)
    for view, pose in zip(seen, poses, strict=True):
        truth = unhidden(name, points, normals, pose[:3, 3])
        way = torch.nn.functional.normalize(pose[:3, 3] - points, dim=1)
        steep = (way * normals).sum(dim=1) > 0.15
        assert (view & ~truth).float().mean() < 0.005
        assert (truth & steep & ~view).sum() <= 2
        assert 0.1 < view.float().mean() < 0.6


def test_what_lies_out_of_the_picture_or_behind_is_not_seen() -> None:
    points, normals = even("sphere", 500)
    intrinsics, poses = cameras()
    zoomed = intrinsics.clone()
    zoomed[:, :2, :2] *= 4
    seen = visible(points, normals, zoomed, poses, SIZE)
    image = (points - poses[0, :3, 3]) @ zoomed[0].t()
    pixel = image[:, :2] / image[:, 2:]
    assert (pixel[seen[0]] >= 0).all()
    assert (pixel[seen[0]] < pixel.new_tensor([320, 240])).all()
    assert 0 < seen[0].sum() < visible(points, normals, intrinsics, poses, SIZE)[0].sum()
    turned = poses.clone()
    turned[:, :3, 2] *= -1
    turned[:, :3, 0] *= -1
    assert not visible(points, normals, intrinsics, turned, SIZE).any()


def test_a_nearer_sheet_hides_a_farther_one() -> None:
    line = torch.linspace(-0.3, 0.3, 40)
    sheet = torch.cat([torch.cartesian_prod(line, line), torch.zeros(1600, 1)], dim=1)
    points = torch.cat([sheet, sheet * 0.5 + torch.tensor([0.0, 0.0, 0.3])])
    normals = torch.tensor([0.0, 0.0, -1.0]).expand(3200, 3)
    intrinsics, poses = cameras()
    seen = visible(points, normals, intrinsics[:1], poses[:1], SIZE, spacing=0.016)[0]
    assert seen[:1600].all()
    assert not seen[1600:].any()
    assert visible(points[1600:], normals[1600:], intrinsics[:1], poses[:1], SIZE).all()


def test_no_points() -> None:
    intrinsics, poses = cameras()
    assert visible(torch.zeros(0, 3), torch.zeros(0, 3), intrinsics, poses, SIZE).shape == (2, 0)
