"""The local PointNet: what it pools over, and that the order of points does not matter."""

from __future__ import annotations

import torch

from recon.nets.grids import Places
from recon.nets.pointnet import LocalPointNet, ResidualBlock


def _awake(module: torch.nn.Module) -> None:
    """Layers that start at zero hide what is behind them."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


def test_a_block_starts_as_its_shortcut() -> None:
    x = torch.randn(4, 6)
    same = ResidualBlock(6, 6)
    torch.testing.assert_close(same(x), x + same.second.bias)
    block = ResidualBlock(6, 3)
    torch.testing.assert_close(block(x), block.shortcut(x) + block.second.bias)


def test_features_follow_the_points_in_any_order() -> None:
    net = LocalPointNet(8, 8)
    _awake(net)
    points, order = torch.rand(1, 30, 3) - 0.5, torch.randperm(30)
    features = net(points, Places(points, "triplane").at(4))
    shuffled = net(points[:, order], Places(points[:, order], "triplane").at(4))
    torch.testing.assert_close(shuffled, features[order], rtol=1e-4, atol=1e-5)


def test_a_point_hears_of_its_cells_and_of_no_others() -> None:
    net = LocalPointNet(8, 8)
    _awake(net)
    points = torch.tensor([[[0.1, 0.1, 0.1], [0.12, 0.12, 0.12], [-0.4, -0.4, -0.4]]]).requires_grad_()
    features = net(points, Places(points.detach(), "volume").at(4))
    heard = torch.autograd.grad(features[0].sum(), points)[0][0].abs().sum(dim=1)
    assert heard[1] > 0
    assert heard[2] == 0
