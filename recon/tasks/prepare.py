"""`prepare`: training data in the published formats, made from meshes, or downloaded where no source is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from recon.conf import choices
from recon.errors import ConfigError
from recon.tasks.folder import RunFolder

if TYPE_CHECKING:
    from recon.data.synthesis.factory import Factory, Made, Rejected

SHOWN = 10


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Make or download the data of ``data=NAME`` in its folder.

    Raises:
        ConfigError: if no data are named, or nothing makes them from meshes.
        DataError: if nothing could be made.
    """
    name = HydraConfig.get().runtime.choices.get("data")
    if name is None:
        raise ConfigError("prepare: no data are named.", f"Add data=NAME. Made from meshes: {_makeable()}.")
    if cfg.source is None:
        _download(cfg, name)
    elif cfg.prepare is None:
        raise ConfigError(f"prepare: nothing makes data={name} from meshes.", f"Made from meshes: {_makeable()}.")
    else:
        _make(cfg, name)


def _make(cfg: DictConfig, name: str) -> None:
    from recon.report.progress import progress
    from recon.tasks.build import build

    factory: Factory = build(cfg.prepare, "prepare")
    try:
        made, rejected = factory.run(progress)
    except KeyboardInterrupt:
        print("\nWhat is finished is kept: the same command goes on from there.", file=sys.stderr)
        raise
    _tell(factory, name, made, rejected)


def _tell(factory: Factory, name: str, made: list[Made], rejected: list[Rejected]) -> None:
    for one in rejected[:SHOWN]:
        print(f"rejected {one.name}: {one.reason}")
    if len(rejected) > SHOWN:
        print(f"... and {len(rejected) - SHOWN} more")
    print(f"{len(made)} made, {len(rejected)} rejected: {factory.path / 'summary.html'}")
    print(f"Use them: data={name} data.path={factory.path}")


def _download(cfg: DictConfig, name: str) -> None:
    """Download what is published of a dataset, or the part that its options name."""
    if "path" not in cfg.data:
        raise ConfigError(
            f"prepare: nothing is downloaded for data={name}.", f"Made with source=MESHES: {_makeable()}."
        )
    from recon.data.catalogue import download
    from recon.report.progress import progress

    chosen = [cfg.data.get(key) for key in ("classes", "scene")]
    parts = [[one] if isinstance(one, str) else list(one) for one in (cfg.kind, cfg.only, *chosen) if one]
    only = list(dict.fromkeys(word for part in parts for word in part)) or None
    download(name, Path(cfg.data.path).expanduser(), only, cfg.accept, progress)


def _makeable() -> str:
    return ", ".join(choices("prepare"))
