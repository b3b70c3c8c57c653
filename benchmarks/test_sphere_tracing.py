"""Sphere tracing of IDR's network: a straightforward tracer on masks against ours, at equal masks.

The network is a quarter of IDR's in size, fitted briefly to a torus, so that rays hit, miss and graze.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.sphere_tracing_reference import MaskedTracer
from recon.nets.frozen import Frozen
from recon.nets.idr import ImplicitNetwork
from recon.rendering.sphere_tracing import SphereTracer

RAYS = 1024


def _torus(x: Tensor) -> Tensor:
    return torch.stack([x[:, :2].norm(dim=1) - 0.5, x[:, 2]], dim=1).norm(dim=1) - 0.22


@pytest.fixture(scope="module")
def net() -> ImplicitNetwork:
    torch.manual_seed(0)
    net = ImplicitNetwork(features=64, widths=(256,) * 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    for _ in range(150):
        x = torch.rand(512, 3) * 2 - 1
        optimizer.zero_grad()
        (net(x) - _torus(x)).abs().mean().backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def rays() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    origins = torch.tensor([-2.2, -0.9, 0.8]).expand(RAYS, 3)
    aims = torch.randn(RAYS, 3, generator=generator) * 0.55
    directions = torch.nn.functional.normalize(aims - origins, dim=1)
    depths = torch.linspace(1, 4, 400)
    points = origins[:, None] + depths[:, None] * directions[:, None]
    return origins, directions, (_torus(points.view(-1, 3)).view(RAYS, -1) < 0).any(dim=1)


@pytest.mark.parametrize("training", [True, False])
def test_tracing(net: ImplicitNetwork, rays: tuple[Tensor, Tensor, Tensor], compare: Callable, training: bool) -> None:
    origins, directions, mask = rays
    inside = mask if training else None
    draws = torch.rand(100, generator=torch.Generator().manual_seed(1))

    def ours() -> tuple[Tensor, Tensor]:
        found = SphereTracer()(Frozen(net), origins, directions, inside)
        return found.distance, found.hit

    def straightforward() -> tuple[Tensor, Tensor]:
        return MaskedTracer(net, origins, directions).trace(inside, draws)

    (distance, hit), (reference, expected) = ours(), straightforward()
    assert (hit == expected).float().mean() >= 0.998
    common = hit & expected & (mask if training else hit)
    assert ((distance - reference)[common].abs() <= 1e-4).float().mean() >= 0.998
    if training:
        least = ~(expected & mask)
        values = [net(origins + t[:, None] * directions)[least] for t in (distance, reference)]
        assert (values[0] - values[1]).mean() <= 1e-3
    timing = compare(ours, straightforward, rounds=3)
    assert timing.ratio >= (4.5 if training else 1.7)
