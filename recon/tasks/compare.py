"""`compare`: several methods on the same scenes; one table with time and memory beside quality."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys

from hydra import compose
from omegaconf import DictConfig

from recon.arguments import key_of
from recon.conf import choices
from recon.data.base import ReconDataModule
from recon.errors import ConfigError, ReconError, did_you_mean
from recon.tasks.finish import finish_comparison
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import Result, failed, process
from recon.tasks.start import begin

log = logging.getLogger("recon")


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Run every method on every scene, each in a folder of its own; what fails is a row that says so."""
    configs = {name: _config_of(name, folder) for name in _checked(cfg)}
    for config in configs.values():
        data = begin(config, folder)
    rows, results = [], {}
    for name in data.selected("test"):
        for method, config in configs.items():
            row, result = _one(method, config, folder, data, name)
            rows.append(row)
            if result is not None:
                results[method, name] = result
    finish_comparison(cfg, folder, rows, results)


def _one(
    method: str, config: DictConfig, folder: RunFolder, data: ReconDataModule, name: str
) -> tuple[dict[str, object], Result | None]:
    _free_memory()
    home = RunFolder(folder.path / method, folder.verb, folder.overrides)
    try:
        results = process(config, home, data, [name])
    except ReconError as error:
        log.warning("%s on %s: %s", method, name, error.what)
        return {"method": method, **failed(name, error.what)}, None
    if not results:
        return {"method": method, **failed(name, data.skipped[name])}, None
    return {"method": method, **results[0].row}, results[0]


def _checked(cfg: DictConfig) -> list[str]:
    known = choices("method")
    if not cfg.methods:
        raise ConfigError("compare: no methods are named.", f"Add methods=[NAME,NAME]. Known: {', '.join(known)}.")
    for name in cfg.methods:
        if name not in known:
            raise ConfigError(f"methods: there is no method '{name}'.", did_you_mean(name, known))
    return list(dict.fromkeys(cfg.methods))


def _config_of(method: str, folder: RunFolder) -> DictConfig:
    """The same command line with one method in place of the list, and its own `tiny` where that was asked for."""
    kept = [o for o in folder.overrides if key_of(o) not in ("methods", "method", "tiny")]
    tiny = [o for o in folder.overrides if key_of(o) == "tiny"]
    extra = [f"tiny={method}"] if tiny and method in choices("tiny") else []
    plain = [o for o in kept if not o.startswith("hydra.")]
    return compose("config", ["task=compare", f"method={method}", *plain, *extra])


def _free_memory() -> None:
    """Give freed memory back to the system, so that one method's peak is not charged to the next."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
