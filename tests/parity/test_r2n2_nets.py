"""Networks of 3D-R2N2 against recorded runs of the authors' program and of its PyTorch port.

Every run has probabilities, losses and states after 1, 2, ... views, and gradients of the last loss. Files are found
by listing; widths, seeds and batches are read from them.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.losses.voxels import occupancy, voxel_cross_entropy
from recon.metrics.voxels import voxel_counts, voxel_iou
from recon.nets.r2n2_original import export_original
from recon.nets.r2n2_weights import export_torch
from tests.parity.r2n2_sets import Recorded, authors, images_of, port

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "r2n2"
PROBABILITY, LOSS, STATE = 1e-5, 1e-6, 2e-5


def _files(pattern: str) -> list[Any]:
    return [pytest.param(f, id=f"{f.parts[-3]}/{f.parts[-2]}/{f.stem}") for f in sorted(ROOT.glob(pattern))]


PORT, AUTHORS = _files("*/torch_*/*_weights.npz"), _files("*/theano/*.npz")


@lru_cache(maxsize=1)
def _recorded(file: Path) -> Recorded:
    return port(file) if file.stem.endswith("_weights") else authors(file)


def _close(ours: Tensor, theirs: np.ndarray, tolerance: float) -> None:
    rounding = 1e-3 if theirs.dtype == np.float16 else 0.0
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=max(tolerance, rounding))


@pytest.mark.parametrize("file", [*PORT, *AUTHORS])
def test_every_number_of_views(file: Path) -> None:
    run = _recorded(file)
    with torch.no_grad():
        logits, _ = run.net(run.images, every=True)
    checked = 0
    for views, expected in run.by_views("exp/prob_v{}"):
        _close(occupancy(logits[:, views - 1]), expected, PROBABILITY)
        checked += 1
    assert checked
    for views, expected in run.by_views("exp/loss_v{}"):
        assert float(voxel_cross_entropy(logits[:, views - 1], run.occupied)) == pytest.approx(expected, abs=LOSS)
    for views, expected in run.by_views("exp/iou04_v{}"):
        probability = occupancy(logits[:, views - 1])
        np.testing.assert_allclose(voxel_counts(probability, run.occupied).sum(dim=0), expected[:5], atol=2)
        assert float(voxel_iou(probability, run.occupied).mean()) == pytest.approx(expected[5], abs=1e-4)


@pytest.mark.parametrize("file", [*PORT, *AUTHORS])
def test_states(file: Path) -> None:
    run = _recorded(file)
    with torch.no_grad():
        features = run.net.encode(run.images)
        states = [run.net.recurrence(features[:, :views])[1] for views in range(1, features.shape[1] + 1)]
    for views, expected in run.by_views("exp/feat_v{}"):
        _close(features[:, views - 1], expected, STATE)
    for views, expected in run.by_views("exp/state_v{}"):
        _close(states[views - 1][0].transpose(1, 2), expected, STATE)  # theirs is (N, D, C, H, W)
    for part, key in enumerate(("exp/h_v{}", "exp/c_v{}")):
        for views, expected in run.by_views(key):
            _close(states[views - 1][part], expected, STATE)


def _gradients(run: Recorded) -> None:
    run.net.zero_grad()
    voxel_cross_entropy(run.net(run.images)[0], run.occupied).backward()
    with torch.no_grad():  # weights make way for their gradients, which then go the way of weights
        for parameter in run.net.parameters():
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)


@pytest.mark.parametrize("file", PORT)
def test_gradients_of_the_port(file: Path) -> None:
    run = port(file)
    _gradients(run)
    found = export_torch(run.net)
    for name, ours in found.items():
        assert float(ours.norm()) == pytest.approx(float(run.data[f"exp/gradnorm/{name}"]), rel=1e-3)
        theirs = run.data.get(f"exp/grad/{name}")
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * max(np.abs(theirs).max(), 1e-4))


@pytest.mark.parametrize("file", AUTHORS)
def test_gradients_of_the_authors(file: Path) -> None:
    run = authors(file)
    _gradients(run)
    views = run.images.shape[1]
    norms = run.data[f"exp/gradnorm_v{views}"]
    for name, ours, norm in zip(run.data["names"], export_original(run.net), norms, strict=True):
        assert float(np.linalg.norm(ours)) == pytest.approx(norm, rel=3e-3)
        theirs = run.data.get(f"exp/grad_v{views}/{name}")
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("file", PORT)
def test_the_ports_state_goes_on_to_the_next_batch(file: Path) -> None:
    """It never sets its state back; a correct program does."""
    run = port(file)
    second = images_of(run.data["images_second_batch"])
    with torch.no_grad():
        _, state = run.net(run.images)
        carried, _ = run.net(second, state)
        fresh, _ = run.net(second)
    _close(occupancy(carried), run.data["exp/carry_prob"], PROBABILITY)
    _close(occupancy(fresh), run.data["exp/reset_prob"], PROBABILITY)
    loss = float(voxel_cross_entropy(carried, run.occupied))
    assert loss == pytest.approx(float(run.data["exp/carry_loss"]), abs=LOSS)
