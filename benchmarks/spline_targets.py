"""`method=spline` on the Stanford bunny against its targets: `python benchmarks/spline_targets.py FOLDER`.

FOLDER holds `bunny_normals.ply` (the scan) and `bunny_mesh.ply` (its truth), itself or in a folder `stanford`. Prints a
markdown table: exact point-to-surface Chamfer (mean of both directions, 50,000 samples each) where the longest side of
the scan is 2, the median of three seeds, and CPU-seconds of fit and mesh. A seed draws the points that are taken, the
noise, what the method draws, and the samples that are measured.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from recon.geometry.frames import Frame
from recon.io.clouds import read_cloud
from recon.io.meshes import read_mesh
from recon.io.types import Cloud, Mesh
from recon.methods.spline import Spline
from recon.metrics.protocols import evaluate
from recon.observations import Points

SEEDS = 3
TILT = 0.2


@dataclass(frozen=True)
class Case:
    """One row: the scan made harder, and the Chamfer distance to reach (NaN: none was set).

    Attributes:
        count: points taken, 0 for all.
        noise: standard deviation of the points, where the longest side is 2.
        normals: ``given``, ``tilted`` (the true ones + N(0, 0.2) a component, about 14 degrees) or ``none``.
    """

    name: str
    target: float
    count: int = 0
    noise: float = 0.0
    normals: str = "given"


CASES = (
    Case("clean, given normals", 0.00055),
    Case("clean, no normals", 0.00055, normals="none"),
    Case("3,000 points, given normals", 0.0018, count=3000),
    Case("3,000 points, no normals", float("nan"), count=3000, normals="none"),
    Case("0.5 % noise, no normals", 0.0027, noise=0.01, normals="none"),
    Case("0.5 % noise, true normals tilted by 14 degrees", 0.0020, noise=0.01, normals="tilted"),
    Case("1 % noise, no normals", 0.0042, noise=0.02, normals="none"),
    Case("1 % noise, true normals tilted by 14 degrees", 0.0031, noise=0.02, normals="tilted"),
)


def scan_of(cloud: Cloud, case: Case, seed: int) -> Points:
    """The points of one draw of a case."""
    random = np.random.default_rng(seed)
    assert cloud.normals is not None
    rows = random.permutation(len(cloud.points))[: case.count] if case.count else np.arange(len(cloud.points))
    points = cloud.points[rows] + case.noise * random.standard_normal((len(rows), 3))
    normals = cloud.normals[rows]
    if case.normals == "tilted":
        normals = normals + TILT * random.standard_normal(normals.shape)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Points.from_cloud(Cloud(points, None if case.normals == "none" else normals), "bunny")


def measured(cloud: Cloud, truth: Mesh, case: Case, seed: int) -> tuple[float, float]:
    """Chamfer distance and CPU-seconds of one draw."""
    scan = scan_of(cloud, case, seed)
    began = time.process_time()
    mesh = Spline(seed=seed).reconstruct(scan).mesh(resolution=256, support_filter=0.025).mesh
    seconds = time.process_time() - began
    return evaluate(mesh, truth, seed=10 * seed)["chamfer_l1_exact"], seconds


def main(folder: Path) -> None:
    """Measure all cases and print the table, row by row."""
    folder = folder / "stanford" if (folder / "stanford").is_dir() else folder
    cloud, truth = read_cloud(folder / "bunny_normals.ply"), read_mesh(folder / "bunny_mesh.ply")
    frame = Frame.fit(cloud.points, "box", 2.0)
    cloud = Cloud(frame.to_local(cloud.points), cloud.normals)
    truth = Mesh(frame.to_local(truth.vertices), truth.faces)
    print("| bunny | target | measured (median of 3) | all draws | CPU-s |\n|---|---|---|---|---|", flush=True)
    for case in CASES:
        found, seconds = zip(*(measured(cloud, truth, case, seed) for seed in range(SEEDS)), strict=True)
        draws = ", ".join(f"{value:.5f}" for value in found)
        target = "" if np.isnan(case.target) else f"{case.target:.5f}"
        print(f"| {case.name} | {target} | {median(found):.5f} | {draws} | {median(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
