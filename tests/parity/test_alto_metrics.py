"""The evaluator of ONet, ConvONet and ALTO against numbers recorded from ALTO's program; files found by listing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recon.geometry.raycast import contains
from recon.io.types import Cloud, Mesh
from recon.metrics.protocols import evaluate
from recon.metrics.volume import mesh_occupancy_iou

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "alto"
FILES = sorted(ROOT.rglob("metrics*.npz"))


@pytest.mark.skipif(not FILES, reason="no recorded metrics here")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
class TestRecorded:
    def test_every_key(self, path: Path) -> None:
        data = np.load(path, allow_pickle=False)
        prediction, truth = Cloud(data["pred"], data["pred_n"]), Cloud(data["gt"], data["gt_n"])
        row = evaluate(prediction, truth, "alto")
        assert set(row) == set(data["keys"])
        np.testing.assert_allclose([row[key] for key in data["keys"]], data["vals"], rtol=1e-6)

    def test_an_empty_prediction(self, path: Path) -> None:
        data = np.load(path, allow_pickle=False)
        row = evaluate(Mesh.empty(), Cloud(data["gt"], data["gt_n"]), "alto")
        assert set(row) == set(data["empty_keys"])
        np.testing.assert_allclose([row[key] for key in data["empty_keys"]], data["empty_vals"], rtol=1e-6)

    def test_iou_of_a_mesh(self, path: Path) -> None:
        data = np.load(path, allow_pickle=False)
        mesh = Mesh(data["mesh_v"], data["mesh_f"])
        np.testing.assert_array_equal(contains(mesh, data["iou_points"]), data["inside"])
        iou = mesh_occupancy_iou(mesh, data["iou_points"], data["gt_occ"])
        np.testing.assert_allclose(iou, data["iou"].item(), rtol=1e-6)
