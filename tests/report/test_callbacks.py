"""Callbacks and loggers in a real Lightning fit of a small field: what is shown, written, and left untouched."""

import csv as csv_module
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import trimesh
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader

from recon.geometry.surface import Extraction, Surface
from recon.io.types import Cloud, Mesh
from recon.methods.base import SceneMethod
from recon.observations import Observation, Points
from recon.report import loggers as report_loggers
from recon.report.callbacks import Previews, Progress
from recon.report.loggers import csv, log_image, log_mesh, none, shows_meshes, tensorboard, wandb_key

CONF = Path(__file__).parents[2] / "conf"


class Ball(SceneMethod):
    """Learns the radius of a ball from its surface points."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.5))
        self.modes: list[bool] = []

    def training_step(self, batch, index):
        points = self.observation.points
        rows = torch.randint(len(points), (16,))  # the global generator: previews must not move it
        loss = ((points[rows].norm(dim=1) - self.radius) ** 2).mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)

    def reconstruct(self, observation: Observation) -> Surface:
        self.modes.append(self.training)
        torch.rand(3)
        radius = self.radius.detach()
        return Surface(lambda p: p.norm(dim=1) - radius, (-1, -1, -1), (1, 1, 1), frame=observation.frame)


@pytest.fixture(autouse=True)
def _no_extraction(monkeypatch):
    """Extraction has tests of its own; here a known mesh stands for what it finds."""

    def mesh(self, options=None, **changes):
        ball = trimesh.creation.icosphere(2, 0.7)
        return Extraction(Mesh(self.frame.to_world(ball.vertices), np.asarray(ball.faces)), 0)

    monkeypatch.setattr(Surface, "mesh", mesh)


def fitted(folder: Path, *callbacks: pl.Callback, logger=False, steps: int = 40, **options) -> tuple[Ball, pl.Trainer]:
    pl.seed_everything(3, verbose=False)
    method = Ball()
    draw = np.random.default_rng(0).standard_normal((200, 3))
    cloud = Cloud(draw / np.linalg.norm(draw, axis=1, keepdims=True) + [5e6, 0, 0])
    method.attach(Points.from_cloud(cloud, "ball"))
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=5,
        **options,
    )
    trainer.fit(method, DataLoader(range(steps * options.get("accumulate_grad_batches", 1)), batch_size=None))
    return method, trainer


def test_previews_are_drawn_and_the_fit_does_not_notice(tmp_path):
    plain, _ = fitted(tmp_path)
    method, _ = fitted(tmp_path, Previews(str(tmp_path), every=15, size=60))
    assert method.radius.item() == plain.radius.item()
    assert method.modes == [False, False]
    assert method.training == plain.training
    files = sorted(p.name for p in (tmp_path / "previews").iterdir())
    assert files == ["step_0000015.png", "step_0000030.png"]
    with Image.open(tmp_path / "previews" / files[0]) as image:
        assert image.size == (4 * 60, 2 * (60 + 24))  # input and surface from four sides


def test_accumulated_gradients_draw_each_step_once(tmp_path):
    method, _ = fitted(tmp_path, Previews(str(tmp_path), every=10, size=40), steps=20, accumulate_grad_batches=3)
    assert len(method.modes) == 2


def test_no_previews_where_none_are_wanted_and_no_silence_about_errors(tmp_path):
    fitted(tmp_path, Previews(str(tmp_path), every=0))
    assert not (tmp_path / "previews").exists()

    class Broken(Previews):
        def _mesh(self, *_):
            raise RuntimeError("the field is broken")

    with pytest.raises(RuntimeError, match="the field is broken"):
        fitted(tmp_path, Broken(str(tmp_path), every=5))


def test_progress_says_start_loss_and_end(tmp_path, capsys):
    fitted(tmp_path, Progress())
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if line.startswith("fit:")]
    assert said[0] == "fit: started, 40 steps"
    assert said[-1].startswith("fit: done in")
    assert "train/loss" in said[-1]


def test_progress_says_where_a_fit_stopped(tmp_path, capsys):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        fitted(tmp_path, Progress(), Stop())
    assert "fit: stopped at 7" in capsys.readouterr().err


def rows_of(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.rglob("metrics.csv")
    with file.open(newline="") as stream:
        return list(csv_module.DictReader(stream))


def test_csv_holds_every_logged_value(tmp_path):
    _, trainer = fitted(tmp_path, Previews(str(tmp_path), every=20, size=40), logger=csv(str(tmp_path)))
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(4, 40, 5))
    assert not shows_meshes(trainer.loggers)


def test_tensorboard_gets_scalars_pictures_and_the_mesh(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fitted(tmp_path, Previews(str(tmp_path), every=20, size=40), logger=tensorboard(str(tmp_path)))
    assert len(rows_of(tmp_path)) == 8  # csv beside it
    (events,) = (tmp_path / "tensorboard").rglob("events*")
    found = event_accumulator.EventAccumulator(str(events), {"images": 0, "tensors": 0})
    found.Reload()
    assert [e.step for e in found.Images("preview")] == [20, 40]
    assert "train/loss" in found.Tags()["scalars"]
    assert any(tag.startswith("mesh") for tag in found.Tags()["tensors"])


def test_logging_to_nothing_is_nothing():
    log_image([], "x", np.zeros((2, 2, 3), np.uint8), 0)
    log_mesh([], "x", Mesh.empty(), 0)
    assert none("x") is False


@pytest.mark.parametrize("name", ["csv", "tensorboard", "none"])
def test_every_logger_file_builds_what_a_trainer_takes(name, tmp_path):
    made = instantiate(OmegaConf.load(CONF / "logger" / f"{name}.yaml"), save_dir=str(tmp_path))
    pl.Trainer(logger=made, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)


def test_the_callback_files_build(tmp_path):
    config = OmegaConf.load(CONF / "callbacks" / "default.yaml")
    made = [instantiate(node, folder=str(tmp_path)) for node in config.values()]
    assert [type(callback) for callback in made] == [Progress, Previews]
    assert all(node is None for node in OmegaConf.load(CONF / "callbacks" / "none.yaml").values())


def test_a_key_for_wandb_is_found_where_people_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not wandb_key()
    (tmp_path / "netrc").write_text("machine elsewhere.org login a password b\n")
    (tmp_path / "netrc").chmod(0o600)
    assert not wandb_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.firm.example:8080")
    assert not wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert wandb_key()


WANDB_FIT = """
import sys
from pathlib import Path
import trimesh, numpy as np
from recon.io.types import Mesh
from recon.report.loggers import log_image, log_mesh, wandb
made = wandb(sys.argv[1])
made[0].log_hyperparams({"method": {"lr": 0.5}})
made[0].log_metrics({"train/loss": 0.25}, step=3)
log_image(made, "preview", np.zeros((8, 8, 3), np.uint8), 3)
ball = trimesh.creation.icosphere(2)
log_mesh(made, "mesh", Mesh(np.asarray(ball.vertices) + 5e6, np.asarray(ball.faces)), 3)
made[0].experiment.finish()
"""


@pytest.mark.slow
def test_wandb_works_offline_without_a_key_and_never_asks(tmp_path):
    pytest.importorskip("wandb")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment = {**kept, "NETRC": str(tmp_path / "none"), "WANDB_SILENT": "true", "PYTHONPATH": str(CONF.parent)}
    folder = tmp_path / "run ü"
    command = [sys.executable, "-c", WANDB_FIT, str(folder)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert list(run.rglob("media/images/preview_*.png"))
    (mesh,) = run.rglob("media/object3D/mesh_*.glb")
    shown = trimesh.load(mesh, force="mesh")
    assert np.abs(shown.vertices).max() == pytest.approx(1.0, abs=1e-6)
    assert list(run.glob("*.wandb"))


def test_a_resumed_run_goes_on_in_the_same_wandb_run(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(report_loggers, "WandbLogger", lambda **options: asked.append(options))
    monkeypatch.setattr(report_loggers, "wandb_key", lambda: False)
    for name in ("a/1", "a/1", "a/2"):
        report_loggers.wandb(str(tmp_path / name))
    assert asked[0]["version"] == asked[1]["version"] != asked[2]["version"]
    assert asked[0]["name"] == "a/1"
    assert asked[0]["offline"] is True
