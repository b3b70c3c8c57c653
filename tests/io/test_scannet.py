"""ScanNet's small files: as published, and damaged in any way."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io import scannet

TURN = "axisAlignment = 0.939693 0.342020 0.000000 -2.5 -0.342020 0.939693 0.000000 1.5 0 0 1 -0.1 0 0 0 1 "
ROWS = ("id raw_category category count nyu40id", "1 wall wall 8277 1", "2 office_chair chair 4646 5", "9 x x 1 ")
TABLE = "\n".join(ROWS).replace(" ", "\t").replace("_chair", " chair")
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(folder: Path, text: str | bytes, name: str = "file.txt") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def test_poses_are_read_as_they_are(tmp_path):
    pose = (
        "-0.955421 0.119616 -0.269932 2.655830\n0.295248 0.388339 -0.872939 2.981598\n0 -0.9 -0.4 1.368648\n0 0 0 1\n"
    )
    found = scannet.read_matrix(written(tmp_path, pose))
    assert found.shape == (4, 4)
    assert found[1, 3] == 2.981598
    lost = scannet.read_matrix(written(tmp_path, "-inf -inf -inf -inf\n" * 4))
    assert np.isneginf(lost).all()
    for text in ("1 2 3", "a " * 16, "", "1 " * 17, "0 " * 50_000):
        with pytest.raises(DataError, match=r"file\.txt"):
            scannet.read_matrix(written(tmp_path, text))
    with pytest.raises(DataError, match="nowhere"):
        scannet.read_matrix(tmp_path / "nowhere.txt")


def test_axis_alignment(tmp_path):
    file = written(tmp_path, f"{TURN}\r\ncolorHeight = 968\nfx_color = 1170.187988\n")
    assert scannet.read_scene_text(file)["fx_color"] == "1170.187988"
    found = scannet.read_axis_alignment(file)
    assert np.allclose(found[0], [0.939693, 0.342020, 0, -2.5])
    assert np.array_equal(scannet.read_axis_alignment(written(tmp_path, "colorHeight = 968\n")), np.eye(4))
    mirrored = "axisAlignment = -1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
    for text in ("axisAlignment = 1 0 0", "axisAlignment = nan" + " 0" * 15, mirrored, "axisAlignment = " + "2 " * 16):
        with pytest.raises(DataError, match="axisAlignment"):
            scannet.read_axis_alignment(written(tmp_path, text))


def test_poses_are_as_they_were_before_they_were_rounded():
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    turn[:3, 3] = [1, 2, 3]
    others = [np.zeros((4, 4)), np.full((4, 4), -np.inf), np.diag([1, 1, -1.0, 1]), 2 * np.eye(4), np.ones((4, 4))]
    found, valid = scannet.rigid(np.stack([turn.round(6) + 1e-4 * np.diag([1, -1, 1, 0]), *others]))
    assert valid.tolist() == [True, False, False, False, False, False]
    assert np.allclose(found[0], turn, atol=2e-4)
    assert np.abs(found[0, :3, :3].T @ found[0, :3, :3] - np.eye(3)).max() < 1e-12
    assert (found[1:] == np.eye(4)).all()
    assert scannet.rigid(turn)[1]


def test_labels(tmp_path):
    labels = scannet.read_labels(written(tmp_path, TABLE))
    assert labels == {1: scannet.Label("wall", 1), 2: scannet.Label("office chair", 5), 9: scannet.Label("x", 0)}
    for text in ("", "id\traw_category\n1\twall\n", TABLE + "\n4\n", TABLE.replace("4646\t5", "4646\tfive")):
        with pytest.raises(DataError, match="no table"):
            scannet.read_labels(written(tmp_path, text))


def test_vertices_of_objects_that_share_segments(tmp_path):
    groups = [
        {"id": 0, "objectId": 0, "segments": [3, 5], "label": "chair"},
        {"id": 1, "objectId": 4, "segments": [5, 99], "label": "desk"},
    ]
    groups = scannet.read_aggregation(written(tmp_path, json.dumps({"segGroups": groups})))
    segments = scannet.read_segments(written(tmp_path, json.dumps({"segIndices": [5, 1, 3, 5]})))
    found = scannet.instance_vertices(groups, segments)
    assert {number: rows.tolist() for number, rows in found.items()} == {0: [0, 2, 3], 4: [0, 3]}
    assert groups[1].label == "desk"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"segGroups": 3, "segIndices": {}}',
        '{"segGroups": [3], "segIndices": [1.5]}',
        '{"segGroups": [{"objectId": -1, "segments": [], "label": ""}], "segIndices": [-1]}',
        '{"segGroups": [{"objectId": 1, "segments": 7, "label": ""}], "segIndices": ["a"]}',
        '{"segGroups": [{"objectId": 1, "segments": [true], "label": ""}], "segIndices": [true]}',
        '{"segGroups": [{"segments": [], "label": ""}], "segIndices": [99999999999999999999]}',
        '{"segGroups": [{}], "segIndices": [' + "9" * 5000 + "]}",
    ],
)
def test_damaged_json_is_told_by_file(tmp_path, text):
    file = written(tmp_path, text)
    for read in (scannet.read_aggregation, scannet.read_segments):
        with pytest.raises(DataError, match=r"file\.txt"):
            read(file)


def test_numbered_files_come_in_the_order_of_their_numbers(tmp_path, monkeypatch):
    for name in ("10.png", "9.png", "0002.png", "a.png", "3.jpg", "3.txt", "²5.png"):
        written(tmp_path, "", name)
    assert list(scannet.numbered(tmp_path, (".png", ".jpg"))) == [2, 3, 9, 10]
    assert scannet.numbered(tmp_path / "nowhere", (".png",)) == {}
    files = [tmp_path / name for name in ("7.png", "007.jpg", "07.png")]
    for order in (files, files[::-1]):  # as the disk may list them
        monkeypatch.setattr(Path, "iterdir", lambda _, order=order: iter(order))
        assert scannet.numbered(tmp_path, (".png", ".jpg")) == {7: tmp_path / "7.png"}


def attempt(read: Callable[[Path], object], file: Path) -> None:
    """Read it; if that fails, the message must name the file."""
    message = "file.txt"
    with contextlib.suppress(DataError):
        try:
            read(file)
        except DataError as error:
            message = error.what
            raise
    assert "file.txt" in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["segments", "objectId"]), inner),
    max_leaves=12,
)
READERS = (scannet.read_matrix, scannet.read_axis_alignment, scannet.read_labels)


@QUICK
@given(st.one_of(st.binary(max_size=200), st.text("axisAlignment=0123.-enif \t\n_", max_size=200).map(str.encode)))
def test_no_text_breaks_a_reader(tmp_path, text):
    for start in (b"", b"axisAlignment = ", b"id\traw_category\tnyu40id\n"):
        file = written(tmp_path, start + text)
        for read in (*READERS, scannet.read_scene_text, scannet.read_aggregation, scannet.read_segments):
            attempt(read, file)


@QUICK
@given(JSON)
def test_no_json_breaks_a_reader(tmp_path, value):
    group = {"segGroups": [{"objectId": 1, "label": value, "segments": value}, value], "segIndices": value}
    for whole in (value, group, {"segGroups": value}):
        file = written(tmp_path, json.dumps(whole))
        for read in (scannet.read_aggregation, scannet.read_segments):
            attempt(read, file)
