"""The auto-decoder: it tells shapes apart, fits codes of new ones, resumes, and moves only what it should."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from recon.data.base import Batch
from recon.errors import CheckpointError, ConfigError
from recon.methods.igr_shapespace import IGRShapeSpace
from recon.nets.sdf import MLP
from recon.observations import OrientedPoints

SCALES = [(1.0, 0.4, 0.4), (1.0, 1.0, 0.4), (1.0, 1.0, 1.0), (1.0, 0.6, 0.4)]


def ellipsoid(axes: tuple[float, ...], count: int = 300) -> OrientedPoints:
    unit = np.random.default_rng(2).normal(size=(count, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    normals = unit / np.asarray(axes)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = torch.from_numpy(unit * axes * 3 + 10)
    return OrientedPoints(points, normals=torch.from_numpy(normals))


def batches(rows: list[list[int]]) -> DataLoader[Batch]:
    def make(index: list[int]) -> Batch:
        scenes = [ellipsoid(SCALES[i]).normalized("box", 1.8) for i in index]
        stacked = OrientedPoints(
            torch.stack([s.points for s in scenes]), normals=torch.stack([s.normals for s in scenes])
        )
        return Batch(stacked, None, torch.tensor(index))

    return DataLoader([make(index) for index in rows], batch_size=None)


def tiny(**changes: Any) -> IGRShapeSpace:
    torch.manual_seed(0)
    defaults = {
        "width": 32,
        "depth": 4,
        "skip": (2,),
        "latent": 4,
        "scenes": 3,
        "fit_steps": 40,
        "fit_points": 100,
        "val_steps": 2,
    }
    return IGRShapeSpace(**{**defaults, **changes})


def train(method: IGRShapeSpace, folder: Path, epochs: int, rows: list[list[int]], ckpt: Path | None = None) -> Any:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    )
    trainer.fit(method, batches(rows), ckpt_path=ckpt, weights_only=True)
    return trainer


def test_it_learns_shapes_and_fits_codes_of_them(tmp_path: Path) -> None:
    method = tiny(lr=5e-3, code_lr=1e-2, lr_every=50, fit_steps=100)
    train(method, tmp_path, 100, [[0, 1, 2]])
    first, last = ellipsoid(SCALES[0]), ellipsoid(SCALES[2])
    surface = method.reconstruct(first)
    points = torch.from_numpy(surface.frame.to_local(first.points.numpy())).float()
    assert surface.field(points).abs().mean() < 0.04
    assert surface.gradient(points).shape == (300, 3)
    np.testing.assert_allclose(np.asarray(surface.high) + surface.low, 0, atol=0.1)
    np.testing.assert_allclose(surface.high, points.amax(0) + 0.1, atol=1e-5)
    between = method.between(first, last, 3)
    assert between[2].field(points).abs().mean() > 3 * surface.field(points).abs().mean()
    x = torch.tensor([[0.0, 0.7, 0.0]])
    values = [s.field(x).item() for s in between]
    assert values[0] > values[1] > values[2]
    assert values[0] == pytest.approx(surface.field(x).item(), abs=1e-5)


def test_fitting_a_code_leaves_the_network_alone_and_repeats_itself() -> None:
    method = tiny()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    scene = ellipsoid(SCALES[0]).normalized("box", 1.8)
    with torch.inference_mode():  # as Lightning's test and predict loops run it
        codes = method.fit_codes(scene.points[None], scene.normals[None])
    assert torch.equal(codes, method.fit_codes(scene.points[None], scene.normals[None]))
    assert codes.norm() > 0.01
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert all(parameter.requires_grad for parameter in method.parameters())


def test_codes_go_on_being_updated_after_a_resume(tmp_path: Path) -> None:
    rows = [[0, 1], [2]]
    unbroken = tiny()
    train(unbroken, tmp_path, 4, rows)
    train(tiny(), tmp_path, 2, rows).save_checkpoint(tmp_path / "two.ckpt")
    resumed = tiny(scenes=None)
    resumed.codes = tiny().codes
    train(resumed, tmp_path, 4, rows, tmp_path / "two.ckpt")
    for key, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert not torch.equal(torch.load(tmp_path / "two.ckpt")["state_dict"]["codes.weight"], resumed.codes.weight)


@pytest.mark.parametrize("touched_only", [False, True])
def test_a_scene_outside_the_batch_moves_by_momentum_or_not_at_all(tmp_path: Path, touched_only: bool) -> None:
    method = tiny(touched_only=touched_only)
    seen = []
    method.on_train_batch_end = lambda *_: seen.append(method.codes.weight.detach().clone())
    train(method, tmp_path, 1, [[0, 1], [2], [2]])
    after_first, *_, last = seen
    assert after_first[:2].abs().sum() > 0
    assert torch.equal(after_first[:2], last[:2]) == touched_only
    assert last[2].abs().sum() > 0


def test_rows_that_another_process_touched_move_too() -> None:
    method = tiny(touched_only=True)
    adam = method.configure_optimizers()["optimizer"]

    def closure() -> torch.Tensor:
        loss = sum((p * torch.ones_like(p)).sum() for p in method.net.parameters())
        loss.backward()
        method.codes.weight.grad = torch.tensor([[1.0] * 4, [2.0] * 4, [0.0] * 4])  # as after the sum over processes
        return loss

    method.optimizer_step(0, 0, adam, closure)
    moved = (method.codes.weight != 0).any(dim=1)
    assert moved.tolist() == [True, True, False]


def test_two_processes_share_the_draw_of_one() -> None:
    method = tiny()
    points = torch.stack([ellipsoid(axes).normalized("box", 1.8).points for axes in SCALES])
    whole = method.off_surface(points, 7)
    for rank in range(2):  # the sampler deals scenes out in turns
        method._trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        assert torch.equal(method.off_surface(points[rank::2], 7), whole[rank::2])
    method._trainer = None
    assert whole.shape == (4, 300 + 37, 3)
    assert not torch.equal(whole[0, 300:], whole[1, 300:])


def test_the_mean_gradient_of_two_processes_is_that_of_one() -> None:
    def gradient(rank: int, world: int) -> torch.Tensor:
        method = tiny()
        method._trainer = SimpleNamespace(world_size=world, global_rank=rank, global_step=5)  # type: ignore[assignment]
        method.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
        (batch,) = batches([[0, 1, 2, 0][rank::world]])
        return torch.autograd.grad(method.training_step(batch, 0), method.net.lin1.weight)[0]

    torch.testing.assert_close((gradient(0, 2) + gradient(1, 2)) / 2, gradient(0, 1), rtol=1e-4, atol=1e-6)


def test_a_code_is_fitted_alike_on_every_process() -> None:
    method, scene = tiny(), ellipsoid(SCALES[0]).normalized("box", 1.8)
    alone = method.fit_codes(scene.points[None], scene.normals[None], 3)
    method._trainer = SimpleNamespace(world_size=2, global_rank=1)  # type: ignore[assignment]
    assert torch.equal(method.fit_codes(scene.points[None], scene.normals[None], 3), alone)


def test_both_learning_rates_are_halved_by_epochs(tmp_path: Path) -> None:
    method = tiny(lr=1e-3, code_lr=1e-4, lr_every=2)
    seen = []
    method.on_before_optimizer_step = lambda optimizer: seen.append([g["lr"] for g in optimizer.param_groups])
    train(method, tmp_path, 4, [[0], [1]])
    assert seen == [[1e-3, 1e-4]] * 4 + [[5e-4, 5e-5]] * 4


def test_validation_fits_codes_of_unseen_scenes(tmp_path: Path) -> None:
    method = tiny(val_steps=30)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    (row,) = trainer.validate(method, batches([[3]]), verbose=False)
    assert 0 < row["val/surface"] < 1


def test_the_table_needs_the_number_of_scenes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scenes"):
        train(tiny(scenes=None), tmp_path, 1, [[0]])


def test_the_authors_network_is_loaded_without_codes(tmp_path: Path) -> None:
    net = MLP(widths=(20,) * 5, latent=6)
    torch.save({"epoch": 1, "model_state_dict": net.state_dict()}, tmp_path / "w.pth")
    method = IGRShapeSpace.from_weights(tmp_path / "w.pth", fit_points=50)
    x, codes = torch.randn(2, 5, 3), torch.randn(2, 6)
    assert torch.equal(method.net(x, codes), net(x, codes))
    scene = ellipsoid(SCALES[0]).normalized("box", 1.8)
    assert method.fit_codes(scene.points[None], scene.normals[None], 1).shape == (1, 6)
    torch.save({"model_state_dict": MLP(widths=(20,) * 5).state_dict()}, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="latent codes"):
        IGRShapeSpace.from_weights(tmp_path / "plain.pth")


def test_weights_of_our_own_checkpoint_bring_their_table(tmp_path: Path) -> None:
    method = tiny()
    train(method, tmp_path, 1, [[0, 1, 2]]).save_checkpoint(tmp_path / "own.ckpt")
    other = IGRShapeSpace.from_weights(tmp_path / "own.ckpt", width=32, depth=4, skip=(2,), latent=4)
    assert torch.equal(other.codes.weight, method.codes.weight)
