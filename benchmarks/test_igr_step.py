"""One step of IGR: the authors' double backward, written straightforwardly, against ours, at equal losses.

2048 surface points with normals, as many about them, 256 in the box; eight layers of 512.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from recon.losses.igr import Objective
from recon.nets.sdf import MLP

POINTS = 2048


@dataclass(frozen=True)
class Step:
    """A network and one batch."""

    net: MLP
    surface: Tensor
    normals: Tensor
    off: Tensor

    def ours(self, dtype: torch.dtype | None = None) -> float:
        """Loss and gradients by the merged, explicit sweeps."""
        self.net.zero_grad()
        loss = Objective()(self.net, self.surface, self.normals, self.off, dtype=dtype)["loss"]
        loss.backward()
        return loss.item()

    def authors(self) -> float:
        """Loss and gradients as in the authors' program: two passes, and autograd twice through each."""
        self.net.zero_grad()
        surface, off = self.surface.clone().requires_grad_(), self.off.clone().requires_grad_()
        on_surface, beyond = _plain(self.net, surface), _plain(self.net, off)
        gradients = [
            torch.autograd.grad(f, x, torch.ones_like(f), create_graph=True, retain_graph=True)[0]
            for f, x in ((on_surface, surface), (beyond, off))
        ]
        loss = on_surface.abs().mean() + 0.1 * ((gradients[1].norm(2, dim=-1) - 1) ** 2).mean()
        loss = loss + (gradients[0] - self.normals).abs().norm(2, dim=1).mean()
        loss.backward()
        return loss.item()


def _plain(net: MLP, x: Tensor) -> Tensor:
    h = x
    for number in range(net.depth + 1):
        if number in net.skip:
            h = torch.cat([h, x], dim=-1) / 2**0.5
        h = net.get_submodule(f"lin{number}")(h)
        if number < net.depth:
            h = torch.nn.functional.softplus(h, 100.0)
    return h


@pytest.fixture(scope="module")
def step() -> Step:
    torch.manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(POINTS, 3), dim=1)
    surface = 0.8 * normals
    near, box = surface + 0.05 * torch.randn(POINTS, 3), torch.rand(POINTS // 8, 3) * 3.6 - 1.8
    return Step(MLP(), surface, normals, torch.cat([near, box]))


def _gradient(action: Callable[[], float], net: MLP) -> tuple[float, Tensor]:
    loss = action()
    return loss, torch.cat([p.grad.flatten().clone() for p in net.parameters()])


def test_float32_step(step: Step, compare: Callable) -> None:
    theirs, reference = _gradient(step.authors, step.net)
    loss, gradient = _gradient(step.ours, step.net)
    assert loss == pytest.approx(theirs, rel=1e-6)
    assert (gradient - reference).norm() < 1e-4 * reference.norm()
    timing = compare(step.ours, step.authors, rounds=10)
    assert timing.ratio >= 1.15


def test_bfloat16_step(step: Step, compare: Callable) -> None:
    half = lambda: step.ours(torch.bfloat16)  # noqa: E731
    theirs, reference = _gradient(step.authors, step.net)
    loss, gradient = _gradient(half, step.net)
    assert loss == pytest.approx(theirs, rel=0.01)
    assert torch.cosine_similarity(gradient, reference, dim=0) > 0.98
    timing = compare(half, step.authors, rounds=10)
    if not _fast_bfloat16():
        pytest.skip("this processor has no instructions for bfloat16 products")
    assert timing.ratio >= 1.9
    assert timing.units <= 7.5


def _fast_bfloat16() -> bool:
    flags = torch.backends.cpu.get_cpu_capability() if not torch.cuda.is_available() else ""
    return "AVX512" in flags or "AMX" in flags or torch.cuda.is_available()
