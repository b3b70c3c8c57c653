"""3D-R2N2 with 5 views: training step, forward, and one view more, against the published loop over views.

Original sizes, PyTorch family's LSTM-3. Both sides keep freed memory for the next step, as `recon train` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.r2n2_reference import straightforward
from recon.losses.voxels import voxel_cross_entropy
from recon.nets.convrnn import R2N2
from recon.nets.host_memory import keep_host_memory

VIEWS = 5


@dataclass(frozen=True)
class Case:
    """A network, a batch, and an optimiser of each program."""

    net: R2N2
    images: Tensor
    occupied: Tensor
    ours: torch.optim.Optimizer
    theirs: torch.optim.Optimizer

    def step(self) -> float:
        """Our training step."""
        self.ours.zero_grad()
        loss = voxel_cross_entropy(self.net(self.images)[0], self.occupied)
        loss.backward()
        self.ours.step()
        return loss.item()

    def published_step(self) -> float:
        """The published one."""
        self.theirs.zero_grad()
        loss = F.nll_loss(straightforward(self.net, self.images), self.occupied)
        loss.backward()
        self.theirs.step()
        return loss.item()


@pytest.fixture(scope="module", params=[4, 8])
def case(request: pytest.FixtureRequest) -> Case:
    keep_host_memory()
    torch.manual_seed(0)
    net, batch = R2N2(), request.param
    occupied = (torch.rand(batch, 32, 32, 32) < 0.1).long()
    # A rate of 0 costs what any other does and leaves the weights as they are.
    ours, theirs = torch.optim.Adam(net.parameters(), lr=0.0, fused=True), torch.optim.Adam(net.parameters(), lr=0.0)
    return Case(net, torch.rand(batch, VIEWS, 3, 128, 128), occupied, ours, theirs)


def test_training_step(case: Case, compare: Callable) -> None:
    assert case.step() == pytest.approx(case.published_step(), abs=1e-6)
    timing = compare(case.step, case.published_step, rounds=5)
    assert timing.ratio >= 1.7


def test_forward(case: Case, compare: Callable) -> None:
    with torch.no_grad():
        ours, theirs = case.net(case.images)[0], straightforward(case.net, case.images)
        torch.testing.assert_close(ours.log_softmax(dim=1), theirs, rtol=0, atol=1e-5)
        timing = compare(lambda: case.net(case.images), lambda: straightforward(case.net, case.images), rounds=5)
    assert timing.ratio >= 1.6


def test_one_view_more(case: Case, compare: Callable) -> None:
    """The sixth view after five, against all six again."""
    image = torch.rand(len(case.images), 3, 128, 128)
    with torch.no_grad():
        _, state = case.net(case.images)
        six = torch.cat([case.images, image[:, None]], dim=1)
        torch.testing.assert_close(case.net.step(state, image)[0], case.net(six)[0], rtol=0, atol=1e-5)
        timing = compare(lambda: case.net.step(state, image), lambda: case.net(six), rounds=5)
    assert timing.ratio >= 1.6


def test_one_view_more_costs_one(case: Case, compare: Callable) -> None:
    """The sixth view after five, against a first view."""
    image = case.images[:, 0]
    with torch.no_grad():
        _, state = case.net(case.images)
        timing = compare(lambda: case.net.step(state, image), lambda: case.net.step(None, image), rounds=5)
    assert timing.ratio >= 0.85


def test_original_family(compare: Callable) -> None:
    """Inserted zeros are never multiplied: the authors' GRU-3, one step against their unpooling."""
    keep_host_memory()
    net = R2N2("original", "gru")
    grid = torch.rand(4, 128, 4, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(net.decoder(grid), _unpooled(net, grid), rtol=0, atol=1e-5)
        timing = compare(lambda: net.decoder(grid), lambda: _unpooled(net, grid), rounds=5)
    assert timing.ratio >= 1.5


def _unpooled(net: R2N2, x: Tensor) -> Tensor:
    for stage in net.decoder.stages[:-1]:
        fine = x.new_zeros(*x.shape[:2], *(2 * side for side in x.shape[2:]))
        fine[:, :, ::2, ::2, ::2] = x
        x = F.leaky_relu(F.conv3d(fine, stage.a.weight, stage.a.bias, padding=1), 0.01)
    return net.decoder.output(F.leaky_relu(net.decoder.stages[-1].a(x), 0.01))
