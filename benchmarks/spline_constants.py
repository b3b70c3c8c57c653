"""Which constants `method=spline` takes under heavy noise: `python benchmarks/spline_constants.py`.

Sweeps the settings below over generated shapes alone (`data=shapes`), with noise of 2 and 3 % of the longest side and
without normals, and selects the one whose median relative error over shapes and noise levels is least. Relative error:
the exact point-to-surface Chamfer distance over that of the first setting on the same points. Everything is seeded.
Prints a markdown table; `recon/geometry/spline_rules.py` ships `CHOSEN`, which a test compares.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from statistics import median
from unittest.mock import patch

import numpy as np
import torch

from recon.data.shapes import Shapes
from recon.geometry import spline_rules
from recon.geometry.spline_rules import HeavyRule
from recon.methods.spline import Spline
from recon.metrics.protocols import evaluate

SHAPES = ("star", "flange", "bracket", "mug", "sheet")
NOISES = (0.02, 0.03)
SAMPLES = 10_000
SETTINGS = {
    "balls, s 0.03: the rule up to 1.5 %": HeavyRule(0.03, None, None, even=False),
    "s 0.01": HeavyRule(0.01, None, None),
    "s 0.02": HeavyRule(0.02, None, None),
    "s 0.01, v 0.5": HeavyRule(0.01, 0.5, None),
    "s 0.02, v 0.5": HeavyRule(0.02, 0.5, None),
    "s 0.02, w 2": HeavyRule(0.02, None, 2.0),
    "s 0.01, v 0.5, w 2": HeavyRule(0.01, 0.5, 2.0),
    "s 0.02, v 0.5, w 2": HeavyRule(0.02, 0.5, 2.0),
    "s 0.03, v 0.5, w 2": HeavyRule(0.03, 0.5, 2.0),
}
CHOSEN = "s 0.02, v 0.5, w 2"

Errors = dict[str, list[float]]


def error(name: str, noise: float, setting: HeavyRule) -> float:
    """Chamfer distance of one shape under one setting, where the longest side of the truth is 2."""
    torch.set_num_threads(1)
    shapes = Shapes(samples=SAMPLES, normals=False, noise=noise)
    scan, truth = shapes.load(name).observation, shapes.mesh(name)
    with patch.object(spline_rules, "HEAVY_RULE", setting):
        surface = Spline().reconstruct(scan)
    mesh = surface.mesh(resolution=128, support_filter=0.025, normals=False).mesh
    return 2 * evaluate(mesh, truth)["chamfer_l1_exact"] / float(np.ptp(truth.vertices, axis=0).max())


def relative(errors: Errors) -> dict[str, float]:
    """The median over all columns of what a setting's error is of the first one's."""
    reference = next(iter(errors.values()))
    return {name: median(e / r for e, r in zip(row, reference, strict=True)) for name, row in errors.items()}


def chosen(errors: Errors) -> str:
    """The setting with the least median relative error."""
    scores = relative(errors)
    return min(scores, key=scores.__getitem__)


def main() -> None:
    """Sweep, print the table and name the winner."""
    columns = [(name, noise) for noise in NOISES for name in SHAPES]
    with ProcessPoolExecutor() as pool:
        runs = {
            label: [pool.submit(error, name, noise, setting) for name, noise in columns]
            for label, setting in SETTINGS.items()
        }
        errors = {label: [run.result() for run in row] for label, row in runs.items()}
    scores = relative(errors)
    print("| setting |", *(f"{name} {noise:.0%} |" for name, noise in columns), "median ratio |")
    print("|---|" + "---|" * (len(columns) + 1))
    for label, row in errors.items():
        print(f"| {label} |", *(f"{value:.4f} |" for value in row), f"{scores[label]:.3f} |")
    print(f"\nchosen: {chosen(errors)}")


if __name__ == "__main__":
    main()
