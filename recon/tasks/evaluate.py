"""`evaluate`: any mesh or cloud against another."""

from __future__ import annotations

from omegaconf import DictConfig

from recon.io.clouds import read_geometry
from recon.metrics.protocols import evaluate
from recon.tasks import build
from recon.tasks.finish import show_rows, write_rows
from recon.tasks.folder import RunFolder


def run(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Score ``pred`` against ``truth`` by the protocol asked for."""
    pred, truth = build.existing(cfg.pred, "pred"), build.existing(cfg.truth, "truth")
    scores = evaluate(read_geometry(pred), read_geometry(truth), cfg.protocol, cfg.seed)
    folder.record(cfg)
    rows = [{"scene": pred.name, **scores}]
    write_rows(folder, rows)
    show_rows(rows, f"{pred.name} against {truth.name}")
    return None
