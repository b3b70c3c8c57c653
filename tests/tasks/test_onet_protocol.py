"""`test` on what the factory makes, scored as the occupancy papers score: in the unit cube, by stored occupancies."""

import csv
from pathlib import Path

import numpy as np
import pytest

from recon.cli import main
from recon.data.solids import solid_mesh
from recon.io.meshes import read_mesh, write_mesh
from recon.io.splits import write_list
from recon.io.types import Mesh

pytestmark = pytest.mark.usefixtures("quick_scores")
SCALE, OFFSET = 20.0, np.array([300.0, -40.0, 7.0])
SHAPES = {"ring": ("torus", "knot"), "part": ("blobs_001",)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shapes of two classes in a unit of their own, all of them in the test split."""
    home = tmp_path_factory.mktemp("onet")
    for group, names in SHAPES.items():
        for name in names:
            shape = solid_mesh(name, 48)
            write_mesh(home / "meshes" / group / f"{name}.ply", Mesh(shape.vertices * SCALE + OFFSET, shape.faces))
    few = ["prepare.points=4000", "prepare.queries=5000", "prepare.workers=0", "kind=points"]
    data = home / "data"
    assert main(["prepare", "data=shapenet", f"data.path={data}", f"source={home}/meshes/*/*.ply", *few]) == 0
    for group, names in SHAPES.items():
        write_list(data / group / "test.lst", names)
    return data


def scored(made: Path, folder: Path, *words: str) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """The rows of metrics.csv by scene, and those of metrics_means.csv."""
    common = ["method=poisson", "method.resolution=48", "resolution=48", "trainer=cpu", "report=false"]
    assert main(["test", *common, "data=shapenet", f"data.path={made}", f"hydra.run.dir={folder}", *words]) == 0
    with (folder / "metrics.csv").open(newline="") as items, (folder / "metrics_means.csv").open(newline="") as means:
        return {row["item"]: row for row in csv.DictReader(items)}, list(csv.DictReader(means))


def test_lengths_are_of_the_unit_cube_and_iou_of_the_stored_occupancies(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, means = scored(made, tmp_path / "run", "protocol=onet")
    assert set(rows) == {"ring_torus", "ring_knot", "part_blobs_001"}
    for name, row in rows.items():
        assert row["status"] == "ok"
        assert float(row["iou"]) > 0.75, name
        assert 0.001 < float(row["chamfer-L1"]) < 0.02, name  # of a shape whose longest side is 20
        assert float(row["normals"]) > 0.85
        mesh = read_mesh(tmp_path / "run" / "meshes" / f"{name}.ply")
        assert np.ptp(mesh.vertices, axis=0).max() > 0.8 * SCALE  # meshes stay where the scan was
    table = {(m["category"], m["statistic"]): m for m in means}
    of_classes = [float(table[c, "mean"]["iou"]) for c in SHAPES]
    assert float(table["all", "class_mean"]["iou"]) == pytest.approx(np.mean(of_classes))
    assert float(table["ring", "mean"]["iou"]) == pytest.approx(
        np.mean([float(rows["ring_torus"]["iou"]), float(rows["ring_knot"]["iou"])])
    )
    shown = capsys.readouterr().out
    assert "chamfer-L1" in shown
    assert "mean of classes" in shown


def test_the_house_s_protocol_has_their_iou_too(made: Path, tmp_path: Path) -> None:
    rows, _ = scored(made, tmp_path / "run", "data.classes=[part]")
    assert float(rows["part_blobs_001"]["iou"]) > 0.75
    assert float(rows["part_blobs_001"]["size"]) == pytest.approx(SCALE * 2, rel=0.6)  # in the scan's own unit


def test_empty_and_missing_meshes_are_counted(made: Path, tmp_path: Path) -> None:
    """The originals' means leave both out without a word; ours say how many there are, and an empty one has IoU 0."""
    write_list(made / "ring" / "test.lst", [*SHAPES["ring"], "lost"])
    try:
        skip = ["protocol=onet", "data.classes=[ring]", "data.on_error=skip", "data.max_skipped=0.5"]
        rows, means = scored(made, tmp_path / "run", *skip, "mesh.trim=1e-9")  # which drops every face
    finally:
        write_list(made / "ring" / "test.lst", SHAPES["ring"])
    assert {name: row["status"] for name, row in rows.items()} == {
        "ring_torus": "empty",
        "ring_knot": "empty",
        "ring_lost": "missing",
    }
    assert float(rows["ring_torus"]["iou"]) == 0
    assert float(rows["ring_torus"]["completeness"]) == pytest.approx(np.sqrt(3))
    table = {(m["category"], m["statistic"]): m for m in means}
    mean, count = table["all", "mean"], table["all", "count"]
    assert (mean["n_items"], mean["n_empty"], mean["n_missing"]) == ("3", "2", "1")
    assert (float(mean["iou"]), int(count["iou"])) == (0, 2)
