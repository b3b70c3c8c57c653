"""What hangs on a fit as Lightning callbacks: progress, and previews of the surface as it forms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.seed import isolate_rng

from recon.io.types import Mesh
from recon.observations import Observation, Points
from recon.report.loggers import log_image, log_mesh, shows_meshes
from recon.report.previews import Panel, save_image, strip
from recon.report.progress import Bar, Lines, start
from recon.report.tables import number

NOTE_SECONDS = 0.25  # reading a loss waits for the device, so it is not read at every step


class Progress(Callback):
    """A bar with ETA on a terminal, plain lines elsewhere, with the newest loss.

    Args:
        folder: of the run, or of one scene's fit, which then has the scene's name; nothing is written there.
        metrics: logged names to show; None takes the loss, or all of a fit that logs no loss.
    """

    def __init__(self, folder: str = ".", metrics: list[str] | None = None) -> None:
        self.folder, self.metrics = folder, metrics
        self.meter: Bar | Lines | None = None
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            scene = Path(self.folder).name if getattr(pl_module, "per_scene", False) else ""
            self.meter = start(_total(trainer), f"{scene}: fit" if scene else "fit", done=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.meter is None:
            return
        now, note = time.monotonic(), ""
        if now - self.last >= NOTE_SECONDS:
            self.last, note = now, self._note(trainer)
        self.meter.to(trainer.global_step, note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close(finished=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close(finished=False)

    def _close(self, finished: bool) -> None:
        if self.meter is not None:
            self.meter.close(finished)
            self.meter = None

    def _note(self, trainer: pl.Trainer) -> str:
        logged = trainer.callback_metrics
        names = self.metrics
        if names is None:
            names = [n for n in logged if n.rsplit("/", 1)[-1] == "loss"] or list(logged)[:4]
        return ", ".join(f"{name} {number(float(logged[name]))}" for name in names if name in logged)


class Previews(Callback):
    """Every so many steps a picture of the input and the surface, into ``FOLDER/previews`` and to the loggers.

    The fit does not notice: random states, gradients and modes are left as they were, so that a fit with previews
    ends at the same weights as one without.

    Args:
        folder: of the run.
        every: steps between two pictures; 0 draws none.
        resolution: cells along the longest side of the mesh that is drawn.
        size: pixels of each of the four views.
        mesh_at_end: give the last mesh to loggers that show meshes (wandb, tensorboard).
    """

    def __init__(
        self, folder: str = ".", every: int = 2000, resolution: int = 96, size: int = 240, mesh_at_end: bool = True
    ) -> None:
        self.folder, self.every, self.resolution, self.size = Path(folder), every, resolution, size
        self.mesh_at_end = mesh_at_end
        self.drawn = -1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step  # stays where it is while gradients accumulate
        if self.every and step and step % self.every == 0 and step != self.drawn and trainer.is_global_zero:
            self.drawn = step
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.mesh_at_end and trainer.is_global_zero and shows_meshes(trainer.loggers):
            observation = _observation(trainer, pl_module)
            if observation is not None:
                log_mesh(trainer.loggers, "mesh", self._mesh(pl_module, observation), trainer.global_step)

    def _draw(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        observation = _observation(trainer, module)
        if observation is None:
            return
        panels = [Panel("input", observation.to_cloud())] if isinstance(observation, Points) else []
        panels.append(Panel(f"surface at step {trainer.global_step}", self._mesh(module, observation)))
        image = strip(panels, self.size)
        save_image(self.folder / "previews" / f"step_{trainer.global_step:07d}.png", image)
        log_image(trainer.loggers, "preview", image, trainer.global_step)

    def _mesh(self, module: pl.LightningModule, observation: Observation) -> Mesh:
        training = module.training
        module.eval()
        try:
            # Not inference mode: a method may fit latents or take gradients of its field.
            with isolate_rng(), torch.no_grad():
                surface = module.reconstruct(observation)  # type: ignore[operator]
                mesh: Mesh = surface.mesh(resolution=self.resolution).mesh
        finally:
            module.train(training)
        return mesh


def _observation(trainer: pl.Trainer, module: pl.LightningModule) -> Observation | None:
    """The scene of a per-scene method, or the first validation item of the dataset; None where there is neither."""
    attached: Observation | None = getattr(module, "observation", None)
    datamodule = getattr(trainer, "datamodule", None)
    if attached is not None or datamodule is None:
        return attached
    dataset = datamodule.val_dataloader().dataset
    return dataset[(0, 0)].observation if len(dataset) else None


def _total(trainer: pl.Trainer) -> float | None:
    """Steps of the whole fit, or None if it is limited by time alone."""
    steps = trainer.estimated_stepping_batches
    return None if steps == float("inf") else int(steps)
