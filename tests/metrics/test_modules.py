import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import ConfigError
from recon.io.types import Cloud, Mesh
from recon.metrics import functional as F
from recon.metrics.modules import CloudScores, ItemMeans, OccupancyIoU, SurfaceScores

ROWS = [
    ({"cd": 1.0, "fscore": 0.5}, "chair", "ok"),
    ({"cd": 2.0, "fscore": 0.7}, "chair", "ok"),
    ({"cd": 6.0}, "lamp", "ok"),
    ({"cd": math.inf, "fscore": 0.0}, "lamp", "empty"),
    ({"cd": math.inf, "fscore": 0.0}, "lamp", "missing"),
]


def filled(strict=False, rows=ROWS):
    metric = ItemMeans(("cd", "fscore"), ("chair", "lamp"), strict)
    for row in rows:
        metric.update(*row)
    return {name: float(value) for name, value in metric.compute().items()}


def test_means_say_what_they_cover():
    found = filled()
    assert (found["n_items"], found["n_empty"], found["n_missing"]) == (5, 1, 1)
    assert (found["cd"], found["n_of/cd"]) == (3, 3)
    # Empty and missing items count 0; the row without an F-score is left out, and that is said.
    assert (found["fscore"], found["n_of/fscore"]) == (pytest.approx(0.3), 4)
    assert (found["cd/chair"], found["cd/lamp"], found["cd/class_mean"]) == (1.5, 6, 3.75)
    assert (found["fscore/chair"], found["fscore/lamp"]) == (pytest.approx(0.6), 0)


def test_strict_means_are_infinite():
    found = filled(strict=True)
    assert found["cd"] == found["cd/lamp"] == math.inf
    assert found["cd/chair"] == 1.5


def test_nothing_but_empty_predictions_have_no_finite_mean():
    found = filled(rows=[ROWS[3]])
    assert found["cd"] == math.inf
    assert found["n_of/cd"] == 0
    assert math.isnan(found["cd/chair"])


def test_states_are_sums_and_counts_and_reset():
    metric = ItemMeans(("cd",))
    metric.update({"cd": 2.0})
    assert all(isinstance(value, torch.Tensor) and value.numel() == 1 for value in metric.metric_state.values())
    metric.reset()
    metric.update({"cd": 4.0})
    assert float(metric.compute()["cd"]) == 4
    assert "n_of/cd" not in metric.compute()


def test_cloud_scores_are_means_of_the_functions(rng):
    pairs = [(torch.from_numpy(rng.normal(size=(50, 3))), torch.from_numpy(rng.normal(size=(60, 3)))) for _ in range(3)]
    metric = CloudScores(thresholds=(0.2, 0.5))
    for prediction, truth in pairs:
        metric.update(prediction, truth, prediction, truth)
    distances = [F.cloud_distances(p, t, p, t) for p, t in pairs]
    found = metric.compute()
    for name, function in (("chamfer_l1", F.chamfer_l1), ("chamfer_l2", F.chamfer_l2), ("hausdorff", F.hausdorff)):
        assert float(found[name]) == pytest.approx(np.mean([function(d) for d in distances]))
    assert float(found["normal_consistency"]) == pytest.approx(np.mean([F.normal_consistency(d) for d in distances]))
    assert float(found["fscore@0.5"]) == pytest.approx(np.mean([F.fscore(d, 0.5) for d in distances]))


def test_cloud_scores_count_empty_and_missing():
    metric, truth = CloudScores(), torch.rand(9, 3)
    metric.update(truth, truth)
    metric.update(torch.zeros(0, 3), truth)
    metric.update(None, truth)
    found = {name: float(value) for name, value in metric.compute().items()}
    assert (found["n_items"], found["n_empty"], found["n_missing"]) == (3, 1, 1)
    assert (found["chamfer_l1"], found["n_of/chamfer_l1"]) == (0, 1)
    assert found["fscore@0.01"] == pytest.approx(1 / 3)


def test_surface_scores_follow_a_protocol():
    shape = trimesh.creation.icosphere(1)
    mesh = Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))
    metric = SurfaceScores(("cd", "corrected_cd"), protocol="nnabla_legacy")
    metric.update(Cloud(mesh.vertices), mesh)
    metric.update(None, mesh)
    found = metric.compute()
    assert (int(found["n_of/cd"]), int(found["n_missing"])) == (1, 1)
    assert float(found["corrected_cd"]) > 0


def test_occupancy_iou_of_a_batch():
    metric = OccupancyIoU(threshold=0.2, categories=("a", "b"))
    truth = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]])
    prediction = torch.tensor([[0.9, 0.2, 0, 0], [0.9, 0.9, 0, 0], [0, 0, 0, 0]])
    metric.update(prediction, truth, ["a", "a", "b"])
    found = metric.compute()
    assert float(found["iou"]) == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert float(found["iou/a"]) == pytest.approx(2 / 3)
    assert int(found["n_empty"]) == 1


def test_an_unknown_category_is_refused():
    with pytest.raises(ConfigError, match="There is no category 'chairs'"):
        ItemMeans(("cd",), ("chair",)).update({"cd": 1.0}, "chairs")


WORKER = """
import sys, json, math
import torch.distributed as dist
from recon.metrics.modules import ItemMeans
rank, store, rows = int(sys.argv[1]), sys.argv[2], eval(sys.argv[3], {"inf": math.inf})
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
metric = ItemMeans(("cd", "fscore"), ("chair", "lamp"))
for row in rows[rank::2]:
    metric.update(*row)
print(json.dumps({name: float(value) for name, value in metric.compute().items()}))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    arguments = [str(tmp_path / "store"), repr(ROWS)]
    children = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), *arguments], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for child in children:
        output, _ = child.communicate(timeout=120)
        assert child.returncode == 0
        assert json.loads(output) == pytest.approx(filled(), nan_ok=True)
