"""MISE against the original: the filled volume, and how many points were evaluated in each round."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.geometry.evaluation import Evaluator
from recon.geometry.extraction import Grid
from recon.geometry.mise import Mise

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity")
KEYS = {"resolution0", "steps", "threshold", "box", "points_per_round", "dense"}


def _recordings() -> list[Any]:
    found = []
    for path in sorted((ROOT / "alto").rglob("*.npz")):
        with np.load(path) as data:
            if set(data.files) >= KEYS:
                found.append(pytest.param(path, id=f"{path.parent.name}/{path.stem}"))
    return found


def logit(x: Tensor) -> Tensor:
    """The recorded field, from the data's README."""
    large = 0.25 - (x - torch.tensor([0.12, 0.02, -0.1])).norm(dim=1)
    small = 0.14 - (x - torch.tensor([-0.3, 0.1, 0.25])).norm(dim=1)
    floor = 0.03 - (x[:, 1] + 0.38).abs()
    return 40 * torch.maximum(torch.maximum(large, small), floor)


@pytest.mark.parametrize("path", _recordings())
def test_volume_and_rounds_are_the_originals(path: Path) -> None:
    data = np.load(path)
    steps, half, level = int(data["steps"]), float(data["box"]) / 2, float(data["threshold"])
    grid = Grid.over((-half,) * 3, (half,) * 3, int(data["resolution0"]) << steps)
    mise = Mise(Evaluator(logit, grid, level=level, sign=-1.0), steps).run()
    assert mise.points_per_round == data["points_per_round"].tolist()
    np.testing.assert_allclose(level - mise.dense(), data["dense"], atol=1e-4)
