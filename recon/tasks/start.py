"""What every verb does before it works: log to the terminal, seed, and check that method and data go together."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from recon.errors import ConfigError, did_you_mean
from recon.metrics.protocols import PROTOCOLS
from recon.report.tables import Table
from recon.tasks import build
from recon.tasks.folder import RunFolder

if TYPE_CHECKING:
    from recon.data.base import ReconDataModule

log = logging.getLogger("recon")


def console() -> Console:
    """Where results are printed; made anew, since tests and notebooks replace standard output."""
    return Console(highlight=False, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table at the width it needs: lines that wrap can be read, numbers that are cut cannot."""
    rich = table.rich()
    needed = Console(width=10_000).measure(rich).maximum
    Console(highlight=False, width=max(console().width, needed)).print(rich)


def begin(cfg: DictConfig, folder: RunFolder) -> ReconDataModule:
    """Check a job whole before it does anything, then record its config in the run folder; returns the dataset."""
    _quiet()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    method, data = build.build_method(cfg), build.build_data(cfg)
    build.match(method, data, cfg)
    build.device_of(cfg)
    build.build_mesh_options(cfg)
    _check_settings(cfg)
    if method.fit_free and folder.verb == "train":
        name = cfg.method["_target_"].rsplit(".", 1)[-1]
        raise ConfigError(
            f"{name} solves, it does not train.", "Use: recon reconstruct method=... input=FILE (or data=NAME)."
        )
    folder.record(cfg)
    return data


def _check_settings(cfg: DictConfig) -> None:
    """Find what would do nothing, or fail only after the work."""
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol}: there is no such protocol.", did_you_mean(cfg.protocol, PROTOCOLS))
    for key in ("input", "truth"):
        if cfg[key] is not None and f"${{{key}}}" not in OmegaConf.to_yaml(cfg.data):
            raise ConfigError(
                f"{key}={cfg[key]}: these data take none, they have their own.",
                f"Leave out data=NAME ({key}= goes with data=own), or leave out {key}=.",
            )


def _quiet() -> None:
    """Lightning's advertisements, and its advice on loaders of a kind that it does not know, help no user."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    unwanted = (
        "does not have many workers",
        "Your `IterableDataset` has `__len__`",
        "Checkpoint directory",
        "LeafSpec",
        "your dataloader is not resumable",  # it is: a scene's steps and an epoch's items are counted
        "could not find the monitored key",  # a fit that ends before its first validation keeps its last step
    )
    for text in (*unwanted, "is smaller than the logging interval"):
        warnings.filterwarnings("ignore", f".*{text}.*")
