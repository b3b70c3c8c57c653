"""One training step of ALTO on three planes, ShapeNet's setting, against its straightforward form; equal losses.

3000 points with noise on a surface, 2048 queries, planes of 64 x 64, width 32; forward, backward and Adam. The 3x3
convolutions alone, which in float32 run at 93 % of a core's peak, take 5 machine units an item; in bfloat16 one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from benchmarks import alto_reference
from recon.losses.occupancy import occupancy_loss
from recon.nets.occupancy_net import OccupancyNet

POINTS, QUERIES = 3000, 2048

Forward = Callable[[OccupancyNet, Tensor, Tensor], Tensor]


def ours(net: OccupancyNet, points: Tensor, queries: Tensor) -> Tensor:
    return net(points, queries)


@dataclass(frozen=True)
class Batch:
    points: Tensor
    queries: Tensor
    inside: Tensor

    @classmethod
    def of(cls, items: int) -> Batch:
        """Noisy points of ellipsoids, and which queries are inside."""
        torch.manual_seed(1)
        radii = 0.25 + 0.25 * torch.rand(items, 1, 3)
        points = radii * torch.nn.functional.normalize(torch.randn(items, POINTS, 3), dim=-1)
        queries = 1.1 * torch.rand(items, QUERIES, 3) - 0.55
        return cls(points + 0.005 * torch.randn_like(points), queries, (queries / radii).norm(dim=-1) < 1)


def step(net: OccupancyNet, adam: torch.optim.Adam, batch: Batch, forward: Forward) -> float:
    adam.zero_grad()
    loss = occupancy_loss(forward(net, batch.points, batch.queries), batch.inside)
    loss.backward()
    adam.step()
    return loss.item()


def gradients(net: OccupancyNet, batch: Batch, forward: Forward) -> tuple[float, Tensor]:
    net.zero_grad()
    loss = occupancy_loss(forward(net, batch.points, batch.queries), batch.inside)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in net.parameters()])


def _mixed(net: OccupancyNet, points: Tensor, queries: Tensor) -> Tensor:
    """As under the trainer's precision=bf16-mixed."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net(points, queries).float()


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize(
    ("forward", "precision", "faster"),
    [pytest.param(ours, 1e-4, 1.35, id="float32"), pytest.param(_mixed, 0.1, 2.0, id="bf16-mixed")],
)
def test_training_step(items: int, forward: Forward, precision: float, faster: float, compare: Callable) -> None:
    torch.manual_seed(0)
    net, batch = OccupancyNet(), Batch.of(items)
    theirs, reference = gradients(net, batch, alto_reference.forward)
    loss, gradient = gradients(net, batch, forward)
    assert loss == pytest.approx(theirs, rel=precision / 10)
    assert (gradient - reference).norm() < precision * reference.norm()
    plain = torch.optim.Adam(net.parameters(), lr=1e-4)
    fused = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    timing = compare(
        partial(step, net, fused, batch, forward), partial(step, net, plain, batch, alto_reference.forward), rounds=8
    )
    assert timing.ratio >= faster
