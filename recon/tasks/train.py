"""`train`: fit a method to data; a per-scene method to each scene in turn. With ``run=FOLDER`` it goes on."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from recon.data.base import ReconDataModule
from recon.tasks import build
from recon.tasks.finish import write_report
from recon.tasks.fit import BEST, LAST, fit
from recon.tasks.folder import RunFolder, is_first_process
from recon.tasks.scenes import fit_scene, loaded, scene_folder
from recon.tasks.start import begin, console


def run(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Train, and return the value that `method.monitor` names (what a sweep optimises)."""
    data = begin(cfg, folder)
    if not build.build_method(cfg).per_scene:
        method = build.build_method(cfg)
        data.selected("train")  # what is not there is told once, before processes are started
        fit(cfg, method, data, folder.path)
        gather(data)
        homes, value = [folder.path], _monitored(method)
    else:
        values, homes = [], []
        for scene in loaded(data, data.selected("test")):
            values.append(_monitored(fit_scene(cfg, folder, scene)))
            homes.append(scene_folder(folder, scene))
        known = [v for v in values if v is not None]
        value = sum(known) / len(known) if known else None
    if is_first_process():
        for home in homes:
            kept = [n for n in (BEST, LAST) if (home / "checkpoints" / n).is_file()]
            console().print(f"checkpoints  {home / 'checkpoints'}: {', '.join(kept)}")
        if cfg.report:
            write_report(cfg, folder, [], homes, data.skipped)
        console().print(f"next         recon reconstruct run={folder.path}")
    return value


def gather(data: ReconDataModule) -> None:
    """Let every process know what any of them skipped."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        everyone: list[dict[str, str]] = [{} for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(everyone, data.skipped)
        for skipped in everyone:
            data.skipped |= skipped


def _monitored(method: object) -> float | None:
    """The last value of the monitored metric, or None where nothing was validated."""
    metrics = method.trainer.callback_metrics  # type: ignore[attr-defined]
    value = metrics.get(method.monitor[0])  # type: ignore[attr-defined]
    return None if value is None else float(value)
