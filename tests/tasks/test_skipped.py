"""Damaged scenes stop a run, or are left out, counted, and listed in table and report."""

import csv
from pathlib import Path

import numpy as np
import pytest

from recon.cli import main

pytestmark = pytest.mark.usefixtures("quick_scores")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three balls, and two files that are none."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "c", "d"):
        points = rng.normal(size=(500, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        np.savetxt(folder / f"{name}.xyzn", np.hstack([points, points]))
    (folder / "b.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    return folder


def words(scans: Path, verb: str = "reconstruct") -> list[str]:
    run = scans.parent / "run"
    common = ["method=poisson", "method.resolution=24", "resolution=24", "trainer=cpu", f"hydra.run.dir={run}"]
    return [verb, f"input={scans}", *common]


def test_by_default_a_damaged_file_stops_the_run(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(scans)) == 2
    assert "b.ply" in capsys.readouterr().err


def test_skipped_files_count_and_are_reported(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = scans.parent / "meshes"
    assert main([*words(scans), "data.on_error=skip", f"output={output}/"]) == 0
    assert {f.stem for f in output.iterdir()} == {"a", "c", "d"}
    with (scans.parent / "run" / "metrics.csv").open(newline="") as stream:
        rows = {row["item"]: row for row in csv.DictReader(stream)}
    assert rows["b"]["status"] == "missing"
    assert "b.ply" in rows["b"]["error"]
    assert rows["c"]["status"] == "ok"
    report = (scans.parent / "run" / "report.html").read_text()
    assert "1 damaged item" in report
    assert "skipped b" in report


def test_more_than_the_allowed_share_is_an_error(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scans / "e.ply").write_bytes(b"ply")
    assert main([*words(scans), "data.on_error=skip", "data.max_skipped=0.2"]) == 2
    assert "max_skipped" in capsys.readouterr().err
