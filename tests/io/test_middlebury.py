"""Middlebury's lists of cameras, the real one and damaged ones."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.middlebury import parse_box, parse_par, read_middlebury
from recon.io.parsing import FormatError

HARMLESS = settings(max_examples=30, deadline=None, derandomize=True)
K = "1000 0.5 320 0 1001 240 0 0 1"
GOOD = f"1\na.png {K} 1 0 0 0 1 0 0 0 1 0.1 0.2 3\n".encode()


def test_a_line_becomes_a_camera():
    ((name, k, pose),) = parse_par(GOOD)
    assert name == "a.png"
    assert k.tolist() == [[1000, 0.5, 320.5], [0, 1001, 240.5], [0, 0, 1]]  # centres at integers become + 0.5
    np.testing.assert_allclose(pose[:3, 3], [-0.1, -0.2, -3])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        ("2\n" + GOOD.decode().split("\n", 1)[1], "announces 2 images; 1 lines"),
        ("0\n", "announces 0"),
        (f"1\na.png {K} 1 0 0 0 1 0 0 0 1 0.1 0.2\n", "20 numbers"),
        (f"1\na.png {K} 1 0 0 0 1 0 0 0 x 0.1 0.2 3\n", "a.png.*could not convert"),
        (f"1\na.png {K} 1 0 0 0 1 0 0 0 -1 0.1 0.2 3\n", "mirrors"),
        (f"1\na.png {K} 1 0 0 0 2 0 0 0 1 0.1 0.2 3\n", "no rotation"),
        (f"1\na.png {K} 1 0 0 0 1 0 0 0 1 0.1 nan 3\n", "not 21 finite"),
        (f"1\n../a.png {K} 1 0 0 0 1 0 0 0 1 0.1 0.2 3\n", "names no file"),
        ("1\na.png -5 0 320 0 1001 240 0 0 1 1 0 0 0 1 0 0 0 1 0 0 3\n", "no camera"),
    ],
)
def test_damaged_lists(tmp_path, text, match):
    (tmp_path / "x_par.txt").write_text(text)
    with pytest.raises(DataError, match=rf"(?s)x_par\.txt.*{match}"):
        read_middlebury(tmp_path)


def test_boxes():
    text = b"The (tight) bounding box for the dino model is\n(-0.06 -0.01 -0.05)\n(0.01 0.06 0.01)\n"
    assert parse_box(text).tolist() == [[-0.06, -0.01, -0.05], [0.01, 0.06, 0.01]]
    for bad in (
        b"",
        b"bounding box",
        b"bounding box (1 2 3) (0 0 0)",
        b"bounding box (1 2 e) (4 5 6)",
        b"(0 0 0) (1 1 1)",
    ):
        assert parse_box(bad) is None


@HARMLESS
@given(data=st.binary(max_size=300), place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_no_bytes_do_harm(data, place, value):
    damaged = bytearray(GOOD)
    damaged[place] = value
    parse_box(b"bounding box (" + data)
    for candidate in (data, bytes(damaged), b"1\n" + data):
        with contextlib.suppress(FormatError):
            parse_par(candidate)


def test_real_dino(data_dir):
    capture = read_middlebury(data_dir / "middlebury_dinoSparseRing")
    assert len(capture.shots) == 16
    assert capture.box.shape == (2, 3)
    centre = capture.box.mean(axis=0)
    for shot in capture.shots:
        assert shot.image.is_file()
        seen = shot.intrinsics @ shot.pose[:3, :3].T @ (centre - shot.pose[:3, 3])
        assert seen[2] > 0
        assert 0 < seen[0] / seen[2] < 640
        assert 0 < seen[1] / seen[2] < 480
