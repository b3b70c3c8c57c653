"""`view`: a run in the browser. It arrives later; every run's report.html has a 3D view already."""

from __future__ import annotations

from omegaconf import DictConfig

from recon.errors import ConfigError
from recon.tasks.folder import RunFolder


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Refuse, saying what can be done today."""
    raise ConfigError(
        "view: the interactive viewer is not in this release.",
        "Today: open report.html in the run folder; it has a 3D view of the mesh that needs no network.",
    )
