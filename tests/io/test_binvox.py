from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recon.errors import DataError
from recon.io.binvox import Binvox, format_binvox, parse_binvox, read_binvox, write_binvox
from recon.io.parsing import FormatError

HEADER = b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n"
quick = settings(max_examples=50, deadline=None, derandomize=True)
finite = st.floats(allow_nan=False, allow_infinity=False)


@quick
@given(
    st.integers(1, 9).flatmap(lambda n: arrays(np.bool_, (n, n, n))),
    st.tuples(finite, finite, finite),
    st.floats(min_value=1e-300, allow_infinity=False),
)
def test_what_is_written_is_read_back(grid, translate, scale):
    back = parse_binvox(format_binvox(Binvox(grid, np.array(translate), scale)))
    np.testing.assert_array_equal(back.grid, grid)
    assert (*back.translate, back.scale) == (*translate, scale)


@pytest.mark.parametrize("count", [1, 254, 255, 256, 510, 511, 512])
def test_runs_of_any_length_have_no_empty_pairs(tmp_path, count):
    flat = np.zeros(512, dtype=bool)
    flat[:count] = True
    grid = flat.reshape(8, 8, 8).transpose(0, 2, 1)
    data = format_binvox(Binvox(grid, np.zeros(3)))
    runs = data[data.index(b"data\n") + 5 :]
    assert 0 not in runs[1::2]
    assert len(runs) == 2 * (-(-count // 255) + -(-(512 - count) // 255))
    write_binvox(tmp_path / "deep/model.binvox", Binvox(grid, np.zeros(3)))
    assert (tmp_path / "deep/model.binvox").read_bytes() == data
    np.testing.assert_array_equal(read_binvox(tmp_path / "deep/model.binvox").grid, grid)


def test_x_is_slowest_and_y_fastest():
    voxels = parse_binvox(HEADER + bytes([0, 1, 1, 1, 0, 6]))  # the second of eight
    assert np.argwhere(voxels.grid).tolist() == [[0, 1, 0]]
    voxels = parse_binvox(HEADER + bytes([0, 2, 1, 1, 0, 5]))
    assert np.argwhere(voxels.grid).tolist() == [[0, 0, 1]]


def test_empty_runs_are_accepted():
    voxels = parse_binvox(HEADER + bytes([0, 0, 1, 4, 1, 0, 0, 4]))
    assert voxels.grid.sum() == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not start"),
        (b"#binvox 2\n", "does not start"),
        (b"solid cube\n", "does not start"),
        (b"#binvox 1\ndim 2 2 2\n", "no line 'data'"),
        (b"#binvox 1\n" + b"#" * 2000 + b"\ndata\n", "no line 'data'"),
        (HEADER.replace(b"scale 1\n", b""), "has no 'scale'"),
        (HEADER.replace(b"scale 1", b"scale 1\nscale 1"), "'scale 1'"),
        (HEADER.replace(b"scale 1", b"size 1"), "'size 1'"),
        (HEADER.replace(b"scale 1", b"scale 0"), "no place"),
        (HEADER.replace(b"scale 1", b"scale nan"), "no place"),
        (HEADER.replace(b"0 0 0", b"0 inf 0"), "no place"),
        (HEADER.replace(b"0 0 0", b"0 x 0"), "translate"),
        (HEADER.replace(b"0 0 0", b"0 0"), "'translate 0 0'"),
        (HEADER.replace(b"2 2 2", b"2 2 -2"), "dim"),
        (HEADER.replace(b"2 2 2", b"2 2 3"), "not a cube"),
        (HEADER.replace(b"2 2 2", b"0 0 0"), "0 voxels along a side"),
        (HEADER.replace(b"2 2 2", b"999999 999999 999999"), "999999 voxels along a side"),
        (HEADER + bytes([0, 8, 1]), "ends within a pair"),
        (HEADER + bytes([2, 8]), "value 2"),
        (HEADER + bytes([0, 7]), r"hold 7 voxels, not 2\^3"),
        (HEADER + bytes([0, 255] * 9), "hold 2295 voxels"),
        (HEADER, "hold 0 voxels"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, data, message):
    file = tmp_path / "model.binvox"
    file.write_bytes(data)
    with pytest.raises(DataError, match=f"model.binvox.*{message}"):
        read_binvox(file)


def test_missing_files_and_grids_that_are_no_cubes(tmp_path):
    with pytest.raises(DataError, match=r"none\.binvox': No such file"):
        read_binvox(tmp_path / "none.binvox")
    with pytest.raises(ValueError, match="cubes"):
        format_binvox(Binvox(np.zeros((2, 2, 3), dtype=bool), np.zeros(3)))


@quick
@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data):
    for whole in (data, b"#binvox 1\n" + data, HEADER + data, HEADER[:20] + data + HEADER[20:]):
        try:
            voxels = parse_binvox(whole, largest=16)
        except FormatError:
            continue
        assert voxels.grid.shape == (2, 2, 2)


@quick
@given(
    st.lists(st.sampled_from(["dim 4 4 4", "translate 1 2 3", "scale 2", "scale 1e999", "data", "dim", " ", "\x00"]))
)
def test_no_header_does_harm(lines):
    try:
        parse_binvox(("\n".join(["#binvox 1", *lines, "data"]) + "\n").encode() + bytes([1, 64]))
    except FormatError:
        return
    assert {line for line in lines if line.strip()} >= {"dim 4 4 4", "translate 1 2 3", "scale 2"}
