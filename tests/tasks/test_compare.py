"""`compare`: one table of all methods on all scenes; what fails is a row that says so."""

import csv

import pytest

from recon.cli import main
from recon.errors import DataError
from recon.methods.poisson import Poisson

pytestmark = pytest.mark.usefixtures("quick_scores")
COMPARE = ["compare", "methods=[poisson,igr]", "tiny=igr", "data=shapes", "data.samples=1500", "trainer=cpu"]
COMPARE += ["trainer.max_steps=3", "logger=none", "callbacks=none", "data.test_scenes=2", "data.resolution=48"]


def rows_of(folder):
    with (folder / "comparison.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_quality_time_and_memory_side_by_side(tmp_path, capsys):
    assert main([*COMPARE, f"hydra.run.dir={tmp_path}"]) == 0
    rows = rows_of(tmp_path)
    assert [r["method"] for r in rows] == ["poisson", "igr"] * 2
    assert all(float(r["cpu_seconds"]) > 0 and float(r["peak_mib"]) > 50 for r in rows)
    assert all(float(r["chamfer_l1_exact"]) > 0 for r in rows)
    assert "poisson" in (tmp_path / "comparison.md").read_text()
    page = (tmp_path / "comparison.html").read_text()
    assert "<table" in page
    assert page.count("Methods compared") == 1
    assert page.index(">Input<") < page.index(">poisson<", page.index(">Input<"))
    assert "CD" in capsys.readouterr().out


def test_the_table_ends_with_a_mean_of_each_method_and_cuts_no_number(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main([*COMPARE, f"hydra.run.dir={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("mean of 2") == 2
    text = (tmp_path / "comparison.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if "mean of 2" in line] == ["poisson", "igr"]
    cells = [float(r["cpu_seconds"]) for r in rows_of(tmp_path) if r["method"] == "igr"]
    assert len(cells) == 2, "the csv holds items only"


def test_a_method_that_fails_is_a_row_not_the_end(tmp_path, monkeypatch):
    def fails(self, observation):
        raise DataError("this scan defeats it", "")

    monkeypatch.setattr(Poisson, "reconstruct", fails)
    assert main([*COMPARE, "data.scene=sphere", "report=false", f"hydra.run.dir={tmp_path}"]) == 0
    poisson, igr = rows_of(tmp_path)
    assert poisson["error"] == "this scan defeats it"
    assert poisson["status"] == "missing"
    assert igr["status"] == "ok"
