"""IGR as a method: what it takes in, its batches, resume, validation, weights of others, and that it learns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from recon.errors import CheckpointError
from recon.geometry.frames import Frame
from recon.methods.igr import IGR
from recon.methods.igr_points import in_frame
from recon.metrics.legacy import nnabla_split
from recon.observations import OrientedPoints, Points
from recon.tasks.fit import Steps

CENTRE, RADIUS = np.array([40.0, -7.0, 3.0]), 5.0


def sphere(count: int = 600, oriented: bool = True) -> Points:
    """A sphere far from the origin, with outward normals."""
    normals = np.random.default_rng(1).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = torch.from_numpy(CENTRE + RADIUS * normals)
    return OrientedPoints(points, normals=torch.from_numpy(normals)) if oriented else Points(points)


def tiny(**changes: Any) -> IGR:
    torch.manual_seed(0)
    return IGR(**{"width": 32, "depth": 4, "skip": (2,), "points": 128, "neighbours": 10, **changes})


def train(method: IGR, folder: Path, steps: int, ckpt: Path | None = None) -> pl.Trainer:
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    )
    plain: dict[str, Any] = {"batch_size": None, "num_workers": 0}
    trainer.fit(
        method,
        DataLoader(Steps(steps, lambda: trainer.global_step), **plain),
        DataLoader([0], **plain),
        ckpt_path=ckpt,
        weights_only=True,
    )
    return trainer


@pytest.mark.parametrize("preset", ["igr", "igr_nnabla", "siren"])
def test_presets_build_from_their_yaml(preset: str, root: Path) -> None:
    def load(name: str) -> dict[str, Any]:
        node = OmegaConf.to_container(OmegaConf.load(root / "conf" / "method" / f"{name}.yaml"), resolve=False)
        bases = [base for base in node.pop("defaults", []) if base != "_self_"]
        return {key: value for base in bases for key, value in load(base).items()} | node

    values = {key: value for key, value in load(preset).items() if key not in ("_target_", "seed")}
    method = IGR(**{**values, "width": 16})
    expected = {
        "igr": (8, 16384, 5e-3, 1.2, "mean", 1.8),
        "igr_nnabla": (7, 512, 1e-4, 1.5, "sum", 1.5),
        "siren": (4, 1400, 1e-4, 1.0, "mean", 1.0),
    }[preset]
    found = (len(method.net.layers()) - 1, method.batch_points, method.schedule(0), method.bound)
    assert (*found, method.objective.reduction, method.box) == expected


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, second = tiny(), tiny()
    for method in (first, second):
        method.attach(sphere())
    first.draw(3)
    for ours, theirs in zip(first.draw(9), second.draw(9), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(first.draw(9)[0], first.draw(10)[0])
    assert not torch.equal(first.draw(9)[0], tiny_with_scene(seed=1).draw(9)[0])


def tiny_with_scene(**changes: Any) -> IGR:
    method = tiny(**changes)
    method.attach(sphere())
    return method


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_mean_gradient_of_two_processes_is_that_of_one(reduction: str) -> None:
    def gradient(rank: int, world: int) -> torch.Tensor:
        method = tiny_with_scene(reduction=reduction, surface_weight=3.0)
        method._trainer = SimpleNamespace(world_size=world, global_rank=rank)  # type: ignore[assignment]
        return torch.autograd.grad(method.terms(5)["loss"], method.net.lin1.weight)[0]

    torch.testing.assert_close((gradient(0, 2) + gradient(1, 2)) / 2, gradient(0, 1), rtol=1e-4, atol=1e-5)


def test_ddp_sends_no_scene_from_process_to_process() -> None:
    method = tiny_with_scene(holdout=0.25)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        sent = DistributedDataParallel(method).modules_buffers
    finally:
        torch.distributed.destroy_process_group()
    scene = {name for name, _ in method.named_buffers()}
    assert scene >= {"points", "normals", "sigma", "held"}
    assert not sent
    method.attach(sphere(oriented=False))
    assert method.normals is None
    assert not method.state_dict().keys() & scene


def test_an_average_of_weights_asks_for_no_gradient() -> None:
    method = tiny_with_scene(ema=0.5)
    method.terms(0)["loss"].backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_a_batch_has_distinct_rows_and_the_papers_numbers() -> None:
    method = tiny_with_scene()
    surface, normals, off = method.draw(0)
    assert surface.shape == normals.shape == (128, 3)
    assert len(off) == 128 + 16
    assert len(torch.unique(surface, dim=0)) == 128
    assert (surface.norm(dim=1) - 0.9).abs().max() < 0.01
    torch.testing.assert_close(normals, torch.nn.functional.normalize(surface, dim=1), atol=0.01, rtol=0)
    assert off[128:].abs().max() <= 1.8
    assert (off[:128] - surface).norm(dim=1).max() < 6 * method.sigma.max()


def test_small_clouds_are_used_whole() -> None:
    method = tiny(points=5000)
    method.attach(sphere(50))
    assert len(method.draw(0)[0]) == 50


def test_two_processes_share_the_batch_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_with_scene()
    whole = method.draw(4)
    shares = []
    for rank in range(2):
        method._trainer = type("Stub", (), {"world_size": 2, "global_rank": rank})()
        shares.append(method.draw(4))
    method._trainer = None
    for part, ours in enumerate(whole):
        both = torch.cat([share[part] for share in shares])
        assert torch.equal(both[both[:, 0].argsort()], ours[ours[:, 0].argsort()])


@pytest.mark.parametrize(
    ("normals", "oriented", "used"), [("given", True, True), ("given", False, False), ("none", True, False)]
)
def test_normals_are_used_when_there_and_wanted(normals: Any, oriented: bool, used: bool) -> None:
    method = tiny(normals=normals)
    method.attach(sphere(oriented=oriented))
    loss = method.objective(method.net, *method.draw(0))
    assert ("normal" in loss) == used == (method.normals is not None)


def test_normals_can_be_estimated() -> None:
    method = tiny(normals="estimate")
    method.attach(sphere(200, oriented=False))
    assert (method.normals * torch.nn.functional.normalize(method.points, dim=1)).sum(1).mean() > 0.97


def test_the_held_out_quarter_is_never_trained_on() -> None:
    method = tiny_with_scene(holdout=0.25)
    train_rows, held_rows = nnabla_split(600, 0.25)
    everything = sphere().normalized("box", 1.8).points
    assert torch.equal(method.points, everything[train_rows])
    assert torch.equal(method.held, everything[held_rows])
    assert len(method.held) == 150


def test_epochs_count_passes_over_the_training_points() -> None:
    assert tiny_with_scene(epochs=7, holdout=0.25).steps == 7 * (450 // 128)
    assert tiny_with_scene(steps=12).steps == 12


def test_it_learns_the_sphere_and_puts_it_where_it_was(tmp_path: Path) -> None:
    method = tiny_with_scene(lr=2e-3, width=48)
    trainer = train(method, tmp_path, 150)
    surface = method.reconstruct(sphere())
    points = torch.from_numpy(surface.frame.to_local(sphere().points.numpy())).float()
    assert surface.field(points).abs().mean() < 0.03
    assert surface.field(torch.zeros(1, 3)) < -0.3
    assert (surface.gradient(points) * torch.nn.functional.normalize(points, dim=1)).sum(1).mean() > 0.95
    np.testing.assert_allclose(surface.frame.translation, CENTRE, atol=0.05)
    assert surface.high == (1.2,) * 3
    torch.testing.assert_close(surface.support, points)
    assert trainer.global_step == 150


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "precision": "bf16", "holdout": 0.25}])
def test_a_resumed_fit_ends_at_the_same_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    unbroken = tiny_with_scene(**options)
    train(unbroken, tmp_path, 8)
    broken = tiny_with_scene(**options)
    train(broken, tmp_path, 5).save_checkpoint(tmp_path / "at5.ckpt")
    resumed = tiny_with_scene(**options)
    train(resumed, tmp_path, 8, ckpt=tmp_path / "at5.ckpt")
    assert unbroken.state_dict().keys() == resumed.state_dict().keys()
    for key, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    stored = torch.load(tmp_path / "at5.ckpt", weights_only=True)
    assert Frame.from_state(stored["frame"]).scale == resumed.frame.scale
    assert not any("points" in key or "sigma" in key for key in stored["state_dict"])


def test_the_average_of_the_weights_is_used_where_one_is_kept(tmp_path: Path) -> None:
    method = tiny_with_scene(ema=0.5)
    train(method, tmp_path, 4)
    points = torch.rand(5, 3)
    value = method.reconstruct(sphere()).field(points)
    assert torch.equal(value, method.averaged.module(points).detach())
    assert not torch.equal(value, method.net(points).detach())


def test_learning_rate_of_every_step_is_the_schedules(tmp_path: Path) -> None:
    method = tiny_with_scene(lr=1e-3, lr_every=3)
    seen = []
    method.on_before_optimizer_step = lambda optimizer: seen.append(optimizer.param_groups[0]["lr"])
    train(method, tmp_path, 8)
    assert seen == [1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 2


def test_a_frame_of_a_checkpoint_wins_over_the_clouds_own() -> None:
    method = tiny()
    method.on_load_checkpoint({"frame": Frame(scale=3.0, translation=np.ones(3)).state()})
    method.attach(sphere())
    np.testing.assert_allclose(method.observation.points.numpy(), (sphere().points.numpy() - 1) / 3, atol=1e-5)
    assert method.reconstruct(sphere()).frame.scale == 3.0


def test_weights_of_the_authors_live_in_the_clouds_own_coordinates(tmp_path: Path) -> None:
    other = tiny(width=24)
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in other.net.state_dict().items()}}, tmp_path / "w")
    method = IGR.from_weights(tmp_path / "w", points=64)
    surface = method.reconstruct(sphere())
    x = torch.rand(7, 3)
    assert torch.equal(surface.field(x), other.net(x).detach())
    assert surface.frame.scale == 1.0
    np.testing.assert_array_equal(surface.frame.translation, np.zeros(3))


def test_weights_that_need_codes_are_refused(tmp_path: Path) -> None:
    from recon.nets.sdf import MLP

    torch.save({"model_state_dict": MLP(widths=(20,) * 5, latent=6).state_dict()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="one three-dimensional shape"):
        IGR.from_weights(tmp_path / "w.pth")


def test_weights_of_our_own_bring_their_frame(tmp_path: Path) -> None:
    method = tiny_with_scene()
    train(method, tmp_path, 2).save_checkpoint(tmp_path / "own.ckpt")
    again = IGR.from_weights(tmp_path / "own.ckpt", width=32, depth=4, skip=(2,))
    assert again.frame.scale == method.frame.scale
    x = torch.rand(5, 3)
    assert torch.equal(again.reconstruct(sphere()).field(x), method.reconstruct(sphere()).field(x))


def test_a_given_frame_gives_the_same_local_coordinates() -> None:
    scene = sphere()
    local = scene.normalized()
    again = in_frame(scene, local.frame)
    torch.testing.assert_close(again.points, local.points)
    torch.testing.assert_close(again.normals, local.normals)


def test_validation_scores_a_mesh_truly_and_by_the_published_recipe(tmp_path: Path) -> None:
    method = tiny_with_scene(holdout=0.25, val_resolution=16)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    (row,) = trainer.validate(method, DataLoader([0], batch_size=None), verbose=False)
    assert row.keys() == {f"val/{k}" for k in ("surface", "chamfer", "hausdorff", "legacy_chamfer", "legacy_hausdorff")}
    assert row["val/chamfer"] < row["val/hausdorff"] < 1.5


def test_released_meshes_of_nnabla_are_in_turned_grid_units() -> None:
    method = tiny(network="nnabla", compat="released", bound=1.5, grid=64)
    frame = method.reconstruct(sphere()).frame
    np.testing.assert_allclose(
        frame.to_world(np.array([[-1.5, -1.5, 1.5], [1.5, -1.5, -1.5]])), [[0, 0, 63], [0, -63, 0]]
    )
    np.testing.assert_allclose(tiny(network="nnabla").reconstruct(sphere()).frame.translation, CENTRE, atol=0.05)
