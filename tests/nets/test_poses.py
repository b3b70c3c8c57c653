"""Learned poses are poses, and only those in a batch are updated."""

from __future__ import annotations

import numpy as np
import torch

from recon.geometry.cameras import look_at
from recon.geometry.conventions import rotation_of as rotation_in_numpy
from recon.nets.poses import LearnedPoses, TouchedAdam, rotation_of


def _poses(count: int = 6) -> torch.Tensor:
    eyes = np.random.default_rng(0).normal(size=(count, 3)) + 2
    return torch.from_numpy(look_at(eyes, np.zeros(3), np.array([0.0, -1.0, 0.0])))


def test_poses_begin_as_given_and_stay_rotations() -> None:
    poses = _poses()
    learned = LearnedPoses(poses)
    torch.testing.assert_close(learned(torch.arange(6)), poses.float(), rtol=0, atol=1e-6)
    learned.weight.data += 0.3 * torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    moved = learned(torch.tensor([[4, 1]]))
    assert moved.shape == (1, 2, 4, 4)
    rotation = moved[0, :, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(2))
    torch.testing.assert_close(moved[0, :, :3, 3], learned.weight[[4, 1], 4:])


def test_rotations_are_those_of_numpy() -> None:
    quaternion = torch.randn(20, 4, dtype=torch.float64)
    torch.testing.assert_close(rotation_of(quaternion).numpy(), rotation_in_numpy(quaternion.numpy()))


def _fit(table: torch.nn.Parameter, look_up, optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(15):
        views = torch.randint(0, 5, (2,), generator=generator)  # the last row never
        weights = torch.randn(2, 7, generator=generator)
        optimizer.zero_grad()
        (look_up(views) * weights).sum().backward()
        optimizer.step()


def test_rows_are_updated_as_sparse_adam_does() -> None:
    start = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    ours = torch.nn.Parameter(start.clone())
    _fit(ours, lambda views: ours[views], TouchedAdam([{"params": [ours], "touched": True}], lr=1e-2))
    sparse = torch.nn.Embedding.from_pretrained(start.clone(), freeze=False, sparse=True)
    _fit(sparse.weight, sparse, torch.optim.SparseAdam(sparse.parameters(), lr=1e-2))
    torch.testing.assert_close(ours, sparse.weight, rtol=0, atol=2e-6)
    assert torch.equal(ours[5], start[5])
    dense = torch.nn.Parameter(start.clone())
    _fit(dense, lambda views: dense[views], torch.optim.Adam([dense], lr=1e-2))
    assert (dense - ours)[:5].abs().max() > 1e-3  # dense Adam drifts by momentum


def test_other_groups_of_the_one_optimiser_are_adams_and_states_resume() -> None:
    torch.manual_seed(0)
    start, table = torch.randn(4, 3), torch.randn(5, 7)

    def made() -> tuple[torch.nn.Parameter, torch.nn.Parameter, TouchedAdam]:
        net, rows = torch.nn.Parameter(start.clone()), torch.nn.Parameter(table.clone())
        return net, rows, TouchedAdam([{"params": [net]}, {"params": [rows], "touched": True, "lr": 1e-3}], lr=1e-2)

    def step(net, rows, optimizer, number: int) -> None:
        optimizer.zero_grad()
        (net.square().sum() * (number + 1) + rows[number % 5].square().sum()).backward()
        optimizer.step()

    whole, first, plain = made(), made(), torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([plain], lr=1e-2)
    for number in range(8):
        step(*whole, number)
        adam.zero_grad()
        (plain.square().sum() * (number + 1)).backward()
        adam.step()
        if number < 4:
            step(*first, number)
    assert torch.equal(whole[0], plain)
    second = made()
    second[0].data, second[1].data = first[0].data.clone(), first[1].data.clone()
    second[2].load_state_dict(first[2].state_dict())
    for number in range(4, 8):
        step(*second, number)
    assert torch.equal(second[0], whole[0])
    assert torch.equal(second[1], whole[1])
