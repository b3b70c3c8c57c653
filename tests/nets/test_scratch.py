"""Work buffers are reused between steps, and never while something still lives in them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from recon.losses.igr import Objective
from recon.nets.scratch import Scratch
from recon.nets.sdf import MLP

CPU = torch.device("cpu")


@pytest.fixture
def net() -> MLP:
    torch.manual_seed(0)
    return MLP(widths=(32,) * 4, skip=(2,))


def _loss(net: MLP, seed: int, points: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    surface, normals, off = torch.randn(3, points, 3, generator=generator)
    return Objective()(net, surface, normals, off)["loss"]


def _gradient(net: MLP, loss: Tensor, retain: bool = False) -> Tensor:
    parts = torch.autograd.grad(loss, list(net.parameters()), retain_graph=retain)
    return torch.cat([part.flatten() for part in parts])


def test_a_buffer_is_free_once_its_lease_is_dead() -> None:
    scratch = Scratch()
    lease = scratch.lease("batch", CPU)
    first, second = lease.take((2, 3), torch.float32), lease.take((2, 3), torch.float32)
    assert first.data_ptr() != second.data_ptr()
    lease.give(first)
    assert lease.take((2, 3), torch.float32) is first
    assert lease.take((2, 3), torch.float64) is not second
    del lease
    again = scratch.lease("batch", CPU)
    assert {id(again.take((2, 3), torch.float32)) for _ in range(2)} == {id(first), id(second)}


def test_buffers_of_another_batch_are_forgotten() -> None:
    scratch = Scratch()
    old = scratch.lease(1, CPU)
    buffer = old.take((2, 3), torch.float32)
    new = scratch.lease(2, CPU)
    del old
    assert new.take((2, 3), torch.float32) is not buffer
    assert scratch.lease(1, CPU).take((2, 3), torch.float32) is not buffer


def test_the_second_step_allocates_nothing_new(net: MLP) -> None:
    def free() -> set[int]:
        return {buffer.data_ptr() for buffers in net._scratch._free.values() for buffer in buffers}

    first = _gradient(net, _loss(net, 1))
    buffers = free()
    assert buffers
    assert torch.equal(_gradient(net, _loss(net, 1)), first)
    assert free() == buffers


def test_graphs_that_live_at_once_do_not_share_buffers(net: MLP) -> None:
    alone = [_gradient(net, _loss(net, seed)) for seed in (1, 2)]
    losses = [_loss(net, seed) for seed in (1, 2)]
    assert all(torch.equal(_gradient(net, loss), ours) for loss, ours in zip(losses, alone, strict=True))


def test_a_graph_is_walked_twice_with_other_steps_between(net: MLP) -> None:
    loss = _loss(net, 1)
    first = _gradient(net, loss, retain=True)
    _gradient(net, _loss(net, 2))
    _gradient(net, _loss(net, 3, points=7))
    assert torch.equal(_gradient(net, loss), first)


def test_steps_after_inference_mode_have_buffers_of_their_own(net: MLP) -> None:
    with torch.inference_mode():
        loss = _loss(net, 1)
    again = _loss(net, 1)
    assert torch.equal(again, loss)
    assert _gradient(net, again).isfinite().all()


def test_copies_start_without_buffers(net: MLP) -> None:
    _gradient(net, _loss(net, 1))
    twin = copy.deepcopy(net)
    assert not twin._scratch._free
    assert torch.equal(_gradient(twin, _loss(twin, 1)), _gradient(net, _loss(net, 1)))
