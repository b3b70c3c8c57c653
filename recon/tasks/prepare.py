"""`prepare`: training data in the published formats. It arrives with the dataset factory."""

from __future__ import annotations

from omegaconf import DictConfig

from recon.errors import ConfigError
from recon.tasks.folder import RunFolder


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Refuse, saying what can be done today."""
    raise ConfigError(
        "prepare: making and downloading training data is not in this release.",
        "Today: data=shapes is generated, data=stanford data.download=true downloads scans, data=own takes your files.",
    )
