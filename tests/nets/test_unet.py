"""ConvONet's U-Nets: three poolings of four levels, and skips that reach across."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recon.nets.unet import UNet
from recon.nets.unet3d import DoubleConv, UNet3d


@pytest.mark.parametrize(("net", "dimensions"), [(UNet(4, 4), 2), (UNet3d(8, 3), 3)])
def test_shape_stays_and_everything_takes_part(net: nn.Module, dimensions: int) -> None:
    width = net.final.weight.shape[0]
    x = torch.randn(2, width, *[8] * dimensions).requires_grad_()
    y = net(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_resolutions_of_four_levels() -> None:
    net, seen = UNet(4, 4), []
    for stage in net.down:
        stage.register_forward_hook(lambda _, __, y: seen.append((y.shape[1], y.shape[-1])))
    net(torch.randn(1, 4, 32, 32))
    assert seen == [(4, 32), (8, 16), (16, 8), (32, 4)]


def test_the_first_convolution_goes_halfway_on_the_way_down_only() -> None:
    assert DoubleConv(8, 32, down=True)[0].conv.out_channels == 16
    assert DoubleConv(32, 32, down=True)[0].conv.out_channels == 32
    assert DoubleConv(24, 8, down=False)[0].conv.out_channels == 8


def test_joining_without_copies_is_joining_copies() -> None:
    net, skip, below = DoubleConv(24, 8, down=False), torch.randn(2, 8, 6, 6, 6), 3 + torch.randn(2, 16, 3, 3, 3)
    for layer in net:
        nn.init.normal_(layer.norm.weight)
        nn.init.normal_(layer.norm.bias)
    found = []
    for way in (lambda s, b: net.joined(s, b), lambda s, b: net(torch.cat([s, F.interpolate(b, scale_factor=2.0)], 1))):
        leaves = [skip.clone().requires_grad_(), below.clone().requires_grad_()]
        answer = way(*leaves)
        found.append([answer, *torch.autograd.grad(answer.square().sum(), [*leaves, *net.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()
