"""ALTO: it learns shapes, validates each once, holds weights of its authors, and makes meshes where the cloud was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from recon.cli import main
from recon.data.base import Batch
from recon.errors import CheckpointError, ConfigError
from recon.losses.occupancy import occupancy_loss
from recon.methods.alto import ALTO
from recon.methods.convonet import ConvONet
from recon.methods.occupancy import logit
from recon.methods.placing import placed
from recon.nets.alto_weights import author_names, is_stacked
from recon.observations import Occupancies, Points

RADII = (0.5, 0.35, 0.2)
TRAINED = [RADII, (0.45, 0.3, 0.25), (0.4, 0.28, 0.48), (0.22, 0.33, 0.5)]


def tiny(**changes: Any) -> ALTO:
    torch.manual_seed(0)
    return ALTO(**{"resolution": 8, "width": 8, "lr": 3e-3, "lr_epochs": 0, "val_every": 1, **changes})


def ball(radius: float, count: int = 300, queries: int = 400, seed: int = 0) -> tuple[Points, Occupancies]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    x *= radius / np.linalg.norm(x, axis=1, keepdims=True)
    asked = rng.uniform(-0.55, 0.55, (queries, 3))
    inside = np.linalg.norm(asked, axis=1) < radius
    return (
        Points(torch.from_numpy(x).float()),
        Occupancies(torch.from_numpy(asked).float(), torch.from_numpy(inside).float()),
    )


def batch(radii: tuple[float, ...] = RADII, seed: int = 0) -> Batch:
    items = [ball(radius, seed=seed + n) for n, radius in enumerate(radii)]
    return Batch(
        Points(torch.stack([p.points for p, _ in items])),
        Occupancies(torch.stack([o.points for _, o in items]), torch.stack([o.inside for _, o in items])),
        torch.arange(len(radii)),
    )


def loader(*batches: Batch) -> DataLoader[Batch]:
    return DataLoader(list(batches), batch_size=None)


def balls() -> DataLoader[Batch]:
    return loader(*(batch(radii, seed=7 * number) for number, radii in enumerate(TRAINED)))


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    plain = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**plain, enable_checkpointing=False, default_root_dir=folder, **options)


def test_the_loss_is_a_sum_over_queries_and_a_mean_over_shapes() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 30.0]])
    inside = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    by_hand = (math.log(2) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-30))) / 2
    assert occupancy_loss(logits, inside).item() == pytest.approx(by_hand, rel=1e-6)
    assert occupancy_loss(logits.bfloat16(), inside).dtype == torch.float32


def test_it_learns_balls_and_meshes_one_where_the_scan_was(tmp_path: Path) -> None:
    method = tiny()
    fit = trainer(tmp_path, max_epochs=20, check_val_every_n_epoch=20)
    fit.fit(method, balls(), loader(batch(seed=70)))
    assert float(fit.callback_metrics["val/iou"]) > 0.75
    assert float(fit.callback_metrics["train/loss_per_point"]) < 0.06
    scan = replace(ball(1.0, 300)[0], points=ball(1.0, 300)[0].points.double() * 7 + torch.tensor([100.0, -20.0, 3.0]))
    mesh = method.reconstruct(scan).mesh(resolution=24).mesh
    distance = np.linalg.norm(mesh.vertices - [100, -20, 3], axis=1)
    assert abs(np.median(distance) - 7) < 0.7
    outward = (mesh.normals * (mesh.vertices - [100, -20, 3])).sum(axis=1) / distance
    assert np.median(outward) > 0.8


def test_validation_counts_every_shape_once_whoever_has_it() -> None:
    one, shapes = tiny(), batch((0.5, 0.35, 0.2))
    one._trainer = SimpleNamespace(world_size=1, global_rank=0)  # type: ignore[assignment]
    one.validation_step(shapes, 0)
    whole = one.iou.compute()
    sums = []
    for rank, rows in enumerate([[0, 2], [1, 0]]):  # the sampler fills up with the first
        method = tiny()
        method._trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        target = Occupancies(shapes.target.points[rows], shapes.target.inside[rows])
        method.validation_step(Batch(Points(shapes.observation.points[rows]), target, torch.tensor(rows)), 0)
        sums.append(method.iou.compute())
    assert sum(int(s["n_items"]) for s in sums) == whole["n_items"] == 3
    total = sum(float(s["iou"]) * int(s["n_items"]) for s in sums)
    assert total / 3 == pytest.approx(float(whole["iou"]), abs=1e-9)


def test_validation_counts_as_inside_what_has_a_fifth_of_a_chance() -> None:
    method = tiny()
    values = [logit(p) for p in (0.19, 0.21, 0.6, 0.01)]
    method.net.forward = lambda points, queries: torch.tensor([values])  # type: ignore[method-assign]
    method._trainer = SimpleNamespace(world_size=1, global_rank=0)  # type: ignore[assignment]
    truth = Occupancies(torch.zeros(1, 4, 3), torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    method.validation_step(Batch(Points(torch.zeros(1, 5, 3)), truth, torch.tensor([0])), 0)
    assert float(method.iou.compute()["iou"]) == pytest.approx(2 / 3)


def test_the_rate_falls_along_half_a_cosine_of_epochs(tmp_path: Path) -> None:
    method, seen = tiny(lr=1e-3, lr_epochs=4, lr_floor=1e-5), []
    method.on_before_optimizer_step = lambda optimizer: seen.append(optimizer.param_groups[0]["lr"])
    trainer(tmp_path, max_epochs=6).fit(method, loader(batch((0.4,)), batch((0.3,))))
    by_hand = [1e-5 + 0.99e-3 * (1 + math.cos(math.pi * min(e, 4) / 4)) / 2 for e in range(6)]
    assert seen == pytest.approx([rate for rate in by_hand for _ in range(2)])
    assert method.epochs == 4
    assert tiny(lr_epochs=0).epochs is None


@pytest.mark.parametrize("option", ["bf16-mixed", "compile"])
@pytest.mark.slow
def test_half_precision_and_compilation_keep_the_validation(option: str, tmp_path: Path) -> None:
    scores = []
    for precision, compiled in (
        ("32-true", False),
        ("bf16-mixed" if "bf16" in option else "32-true", "comp" in option),
    ):
        fit = trainer(tmp_path, max_epochs=30, check_val_every_n_epoch=30, precision=precision)
        fit.fit(tiny(compile=compiled), balls(), loader(batch(seed=70)))
        scores.append(float(fit.callback_metrics["val/iou"]))
    assert min(scores) > 0.75
    assert abs(scores[0] - scores[1]) < 0.08


def test_a_cloud_is_placed_by_what_is_known_of_it() -> None:
    cloud = ball(0.5, 500)[0]
    assert torch.equal(placed(cloud).points, cloud.points), "it fills the cube already"
    small = replace(cloud, points=cloud.points * 0.3)
    assert float(placed(small).points.abs().max()) == pytest.approx(0.5, abs=0.01)
    framed = replace(small, frame=placed(small).frame)
    assert torch.equal(placed(framed).points, small.points), "its reader says where it came from"
    tall = torch.rand(500, 3, dtype=torch.float64) * torch.tensor([2.0, 3.0, 8.0])
    for how, low in (("box", -0.5), ("floor", -0.5)):
        up = placed(Points(tall), how, up="z")
        assert float(up.points[:, 1].min()) == pytest.approx(low, abs=1e-6)
        np.testing.assert_allclose(up.frame.to_world(up.points.numpy()), tall.numpy(), atol=1e-5)
    assert float(placed(Points(tall), "box").points[:, 1].min()) > -0.2
    assert float(placed(Points(tall), "floor").points[:, 1].min()) == pytest.approx(-0.5, abs=1e-6)
    assert np.linalg.det(placed(Points(tall), up="x").frame.rotation) == pytest.approx(1)


def authors_file(method: ALTO | ConvONet, file: Path, prefix: str = "module.") -> dict[str, torch.Tensor]:
    """What the authors' program would have saved of this network, dead parameters and NumPy numbers included."""
    names, state = author_names(method.net), {}
    for key, value in method.net.state_dict().items():
        rows = value if is_stacked(key) else value[None]
        for name, row in zip(names[key], rows, strict=True):
            bias = is_stacked(key) and key.endswith("bias")
            state[name.replace(".unet.", f".unet.{prefix}")] = row[0] if bias else row
    if isinstance(method, ALTO):
        state["decoder.fc_interpolated_fea.weight"] = torch.zeros(8, 8)
    torch.save({"model": state, "it": 5, "loss_val_best": np.float64(0.5)}, file)
    return state


@pytest.mark.parametrize("cls", [ALTO, ConvONet])
def test_weights_of_the_authors_and_the_checkpoint_they_become(cls: Any, workdir: Path) -> None:
    torch.manual_seed(1)
    legacy = {"compat": "released"} if cls is ALTO else {}
    method = cls(resolution=16, width=8, **legacy)
    authors_file(method, workdir / "model.pt")
    seen, asked = torch.rand(1, 50, 3) - 0.5, torch.rand(1, 60, 3) - 0.5
    loaded = cls.from_weights("model.pt", resolution=16)
    with torch.no_grad():
        expected = method.net(seen, asked)
        torch.testing.assert_close(loaded.net(seen, asked), expected)
    with pytest.raises(CheckpointError, match="resolution"):
        cls.from_weights("model.pt")
    other, name = (ConvONet, "ALTO") if cls is ALTO else (ALTO, "ConvONet")
    with pytest.raises(CheckpointError, match=f"network of {name}"):
        other.from_weights("model.pt", resolution=16)
    words = ["convert", f"method={cls.__name__.lower()}", "weights=model.pt", "output=ours.ckpt"]
    assert main([*words, "method.resolution=16"]) == 0
    assert "numpy" not in str(torch.load("ours.ckpt", weights_only=True)["hyper_parameters"])
    ours = cls.from_weights("ours.ckpt", threshold=0.3)
    assert ours.settings.threshold == 0.3
    with torch.no_grad():
        torch.testing.assert_close(ours.net(seen, asked), expected)


def test_own_scan_author_weights_one_command(workdir: Path, quick_scores: None) -> None:
    authors_file(tiny(compat="released"), workdir / "model.pt")
    np.savetxt("scan.xyz", ball(3.0)[0].points.numpy() + np.array([5.0, 0, 0]))
    words = ["reconstruct", "method=alto", "weights=model.pt", "input=scan.xyz", "output=out.ply", "resolution=16"]
    assert main([*words, "report=false", "trainer=cpu"]) == 2
    assert main([*words, "report=false", "trainer=cpu", "method.resolution=8"]) == 0


def test_new_training_looks_neighbours_up_where_they_are() -> None:
    assert tiny().net.decoder.layout == "aligned"
    assert tiny(compat="released").net.decoder.layout == "legacy"
    assert tiny(compat="released", neighbor_layout="aligned").net.decoder.layout == "aligned"
    with pytest.raises(ConfigError, match="levels=3"):
        tiny(compat="released", levels=3)


def test_every_parameter_has_a_gradient() -> None:
    for method in (tiny(), tiny(latent="volume"), ConvONet(resolution=8, width=8), ConvONet("volume", 8, 8)):
        shapes = batch((0.4,))
        occupancy_loss(method.net(shapes.observation.points, shapes.target.points), shapes.target.inside).backward()
        assert all(p.grad is not None for p in method.parameters())


@pytest.mark.parametrize(("option", "value"), [("threshold", 1.0), ("val_every", 0), ("points", 0)])
def test_options_that_cannot_be_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=option):
        tiny(**{option: value})


def test_of_a_large_cloud_some_points_may_be_drawn() -> None:
    method, cloud = tiny(points=40), ball(0.5, 300)[0]
    first, again = (method.reconstruct(cloud).field(torch.zeros(1, 3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, tiny().reconstruct(cloud).field(torch.zeros(1, 3)))


def test_data_without_occupancies_are_refused_before_any_work(workdir: Path, capsys: Any) -> None:
    np.savetxt("scan.xyz", ball(1.0)[0].points.numpy())
    assert main(["train", "method=alto", "tiny=alto", "~data.queries", "~data.val_queries", "input=scan.xyz"]) == 2
    assert "learns from occupancies" in capsys.readouterr().err
