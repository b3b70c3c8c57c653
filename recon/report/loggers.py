"""Loggers by their one-word names, and pictures and meshes for those that can show them.

csv is always written beside the others, because a report draws its curves from it.
"""

from __future__ import annotations

import hashlib
import netrc
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

import numpy as np
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from recon.errors import need
from recon.io.types import Mesh
from recon.report.viewer import simplified

MAX_FACES = 100_000


def csv(save_dir: str) -> CSVLogger:
    """Every logged value in ``SAVE_DIR/logs/version_N/metrics.csv``; a resumed fit opens the next version."""
    return CSVLogger(save_dir, name="logs")


def tensorboard(save_dir: str) -> list[Logger]:
    """TensorBoard's event files in ``SAVE_DIR/tensorboard``, and csv.

    Raises:
        ConfigError: if tensorboard is not installed.
    """
    need("tensorboard", extra="view")
    return [TensorBoardLogger(save_dir, name="tensorboard", default_hp_metric=False), csv(save_dir)]


def wandb(
    save_dir: str,
    project: str = "recon",
    entity: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    offline: bool | None = None,
) -> list[Logger]:
    """Weights & Biases, and csv.

    Args:
        save_dir: the run folder; a resumed fit in it goes on in the same wandb run.
        project: the project's name.
        entity: user or team, or None for the key's own.
        group: puts the runs of a sweep together.
        tags: for filters.
        offline: None goes online only where a key is found, and so never asks for one. What was logged
            offline is sent by ``wandb sync SAVE_DIR/wandb/offline-*``.
    """
    folder = Path(save_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(
        save_dir=str(folder),
        name="/".join(folder.parts[-2:]),
        version=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
        project=project,
        offline=not wandb_key() if offline is None else offline,
        entity=entity,
        group=group,
        tags=tags,
    )
    return [logger, csv(save_dir)]


def none(save_dir: str) -> bool:
    """No logger, in the way that `pytorch_lightning.Trainer` takes it."""
    return False


def wandb_key() -> bool:
    """Whether a key for wandb is at hand: in WANDB_API_KEY or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    if not file.is_file():
        return False
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    return netrc.netrc(file).authenticators(host) is not None


def shows_meshes(loggers: Iterable[Logger]) -> bool:
    """Whether any of the loggers takes pictures and meshes."""
    return any(isinstance(logger, (WandbLogger, TensorBoardLogger)) for logger in loggers)


def log_image(loggers: Iterable[Logger], name: str, image: np.ndarray, step: int) -> None:
    """Give a picture (H, W, 3) uint8 to the loggers that show pictures; csv has the files of the run folder."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [image], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, step, dataformats="HWC")


def log_mesh(loggers: Iterable[Logger], name: str, mesh: Mesh, step: int) -> None:
    """Give a mesh to the loggers that show meshes, centred and simplified to what a browser takes."""
    loggers = list(loggers)
    if mesh.is_empty or not shows_meshes(loggers):
        return
    light, colors = simplified(mesh, MAX_FACES, mesh.colors)
    centre = (light.vertices.min(axis=0) + light.vertices.max(axis=0)) / 2
    light = Mesh(light.vertices - centre, light.faces, colors=colors)  # both work in float32
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _log_object3d(logger, name, light, step)
        elif isinstance(logger, TensorBoardLogger):
            _log_tensorboard_mesh(logger, name, light, step)


def _log_object3d(logger: WandbLogger, name: str, mesh: Mesh, step: int) -> None:
    from wandb import Object3D

    with TemporaryDirectory() as folder:  # wandb copies the file when it is logged
        file = Path(folder) / "mesh.glb"
        mesh.to_trimesh().export(file)
        logger.log_metrics({name: Object3D(str(file))}, step=step)  # type: ignore[dict-item]


def _log_tensorboard_mesh(logger: TensorBoardLogger, name: str, mesh: Mesh, step: int) -> None:
    vertices = mesh.vertices[None].astype(np.float32)
    colors = None if mesh.colors is None else mesh.colors[None, :, :3]
    logger.experiment.add_mesh(name, vertices, colors, mesh.faces[None].astype(np.int32), global_step=step)
