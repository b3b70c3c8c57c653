"""`claim`: methods trained alike and scored at each condition, and a heading that says when that was too short."""

import csv
import math

import pytest

from recon.arguments import parse, with_defaults
from recon.cli import main
from recon.report.claims import Claim, flattened
from recon.report.curves import Curve

FEW = ["experiment=claim_alto", "trainer=cpu", "trainer.max_steps=2", "data.train_scenes=2", "data.val_scenes=1"]
FEW += ["data.points=200", "data.min_points=50", "data.queries=100", "data.val_queries=200", "resolution=16"]
FEW += ["data.resolution=48", "claim.seeds=[0]", "callbacks=none", "claim.shown=sphere"]
FEW += ['claim.methods={alto:["tiny=alto"],convonet:["tiny=convonet"],poisson:["method.resolution=32"]}']
FEW += ['claim.test=["data.scene=[sphere]"]']


def row(method: str, seed: int, iou: float, condition: str = "300 points", **others: float) -> dict:
    scores = {"iou": iou, "chamfer": 1.0, "normal_consistency": 0.9, "fscore": 0.5, "seconds": 1.0} | others
    return {"method": method, "seed": seed, "condition": condition, "scene": "x", "status": "ok", **scores}


def test_a_claims_experiment_is_a_verb_of_its_own():
    assert with_defaults(parse(["experiment=claim_alto"])).verb == "claim"
    assert with_defaults(parse(["experiment=alto_shapenet_3k"])).verb == "train"
    assert with_defaults(parse(["test", "experiment=claim_alto"])).verb == "test"


@pytest.mark.slow
def test_methods_are_trained_alike_and_scored_at_each_density(workdir, quick_scores, capsys):
    run = workdir / "run"
    assert main([*FEW, f"hydra.run.dir={run}"]) == 0
    with (run / "claim.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {r["method"] for r in rows} == {"alto", "convonet", "poisson"}
    assert {r["condition"] for r in rows} == {"points_300", "points_1000", "points_3000"}
    sphere = next(r for r in rows if r["method"] == "poisson" and r["scene"] == "sphere")
    assert float(sphere["iou"]) > 0.8
    assert "unconverged, 2 steps" in (run / "claim.md").read_text()
    assert (run / "claim.png").stat().st_size > 5000
    assert (run / "shapes.png").is_file()
    assert "ALTO, ConvONet and Poisson" in capsys.readouterr().out
    assert main(["reconstruct", f"run={run}/alto-0", "data=shapes", "data.scene=torus", "report=false"]) == 0


def test_a_claim_needs_a_name(workdir, capsys):
    assert main(["claim"]) == 2
    assert "experiment=claim_NAME" in capsys.readouterr().err


def test_means_are_over_scenes_and_spreads_between_seeds():
    rows = [row("a", 0, 0.4), row("a", 0, 0.6), row("a", 1, 0.6), row("a", 1, 0.8, chamfer=math.inf)]
    (mean,) = Claim("t", rows, {}).means()
    assert mean["iou"] == pytest.approx(0.6)
    assert mean["iou ±"] == pytest.approx(0.1)
    assert mean["chamfer"] == pytest.approx(1.0), "a mesh that is not there has no distance"
    assert mean["items"] == 4


def test_the_heading_says_what_was_too_short():
    flat = Curve("val/iou", range(99, 1000, 100), [0.1, 0.3, 0.5, 0.6, 0.65, 0.69, 0.7, 0.7, 0.702, 0.701])
    rising = Curve("val/iou", range(99, 1000, 100), [0.1 * n for n in range(10)])
    assert Claim("t", [], {"a": flat}).heading == "t (1000 steps)"
    assert Claim("t", [], {"a": flat, "b": rising}).heading == "t (unconverged, 1000 steps)"
    assert not flattened([0.5])
