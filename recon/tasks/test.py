"""`test`: mesh and score every test scene; one row an item, and means over classes that skip nothing silently."""

from __future__ import annotations

from omegaconf import DictConfig

from recon.tasks.finish import finish
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import process
from recon.tasks.start import begin


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Score a run (or a method that solves) on the test scenes of its data."""
    data = begin(cfg, folder)
    results = process(cfg, folder, data, data.selected("test"))
    finish(cfg, folder, results, skipped=data.skipped)
