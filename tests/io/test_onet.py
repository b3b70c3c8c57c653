"""Occupancy Networks' arrays: round trips, what is read of them, and damage of every kind."""

import contextlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io import npz
from recon.io.npz import open_npz, rows_of
from recon.io.onet import QueryFile, SurfaceFile, write_pointcloud, write_points

COUNT = 1003  # no multiple of eight
FUZZ = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def surface(rng):
    points = rng.uniform(-0.5, 0.5, (COUNT, 3))
    normals = rng.standard_normal((COUNT, 3))
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.fixture
def inside(surface):
    return surface[0][:, 0] > 0.1


@pytest.mark.parametrize(("half", "step"), [(True, 2.5e-4), (False, 6e-8)])
def test_pointcloud_there_and_back(tmp_path, surface, half, step):
    points, normals = surface
    write_pointcloud(tmp_path / "pointcloud.npz", points, normals, np.array([1.0, 2, 3]), 0.25, half)
    file = SurfaceFile(tmp_path / "pointcloud.npz")
    rows = np.array([5, 1002, 5, 0])
    assert len(file) == COUNT
    assert file.has_normals
    assert file.is_half is half
    np.testing.assert_allclose(file.points(), points, atol=step)
    np.testing.assert_array_equal(file.points(rows), file.points()[rows])
    assert file.points(rows).dtype == np.float32
    assert file.points(kind=np.float64).dtype == np.float64
    np.testing.assert_allclose(file.normals(rows), normals[rows], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(file.normals(), axis=1), 1, atol=1e-6)
    scale, location = file.world()
    assert scale == 0.25
    assert location.tolist() == [1, 2, 3]
    file.verify()


@pytest.mark.parametrize("packed", [True, False])
def test_points_there_and_back(tmp_path, surface, inside, packed):
    write_points(tmp_path / "points.npz", surface[0], inside, packed=packed)
    file = QueryFile(tmp_path / "points.npz")
    rows = np.random.default_rng(1).integers(COUNT, size=500)
    np.testing.assert_array_equal(file.inside(), inside)
    np.testing.assert_array_equal(file.inside(rows), inside[rows])
    assert file.world()[0] == 1
    file.verify()


def test_layout_on_disk_is_the_published_one(tmp_path, surface, inside):
    """Names, types and shapes that other readers of these files want; nothing is compressed."""
    write_pointcloud(tmp_path / "pointcloud.npz", *surface)
    write_points(tmp_path / "points.npz", surface[0], inside)
    with np.load(tmp_path / "pointcloud.npz") as file:
        assert {k: (v.dtype.name, v.shape) for k, v in file.items()} == {
            "points": ("float16", (COUNT, 3)),
            "normals": ("float16", (COUNT, 3)),
            "loc": ("float64", (3,)),
            "scale": ("float64", ()),
        }
    with np.load(tmp_path / "points.npz") as file:
        assert file["occupancies"].dtype == np.uint8
        assert file["occupancies"].shape == (126,)
        np.testing.assert_array_equal(np.unpackbits(file["occupancies"])[:COUNT].astype(bool), inside)
    with zipfile.ZipFile(tmp_path / "points.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_one_bit_is_the_highest_of_its_byte(tmp_path):
    np.savez(
        tmp_path / "points.npz", points=np.zeros((9, 3), np.float16), occupancies=np.array([0b10000010, 128], "u1")
    )
    assert np.flatnonzero(QueryFile(tmp_path / "points.npz").inside(np.arange(9))).tolist() == [0, 6, 8]


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, np.int64])
def test_other_writers_spell_occupancies_otherwise(tmp_path, surface, inside, kind):
    np.savez(tmp_path / "points.npz", points=surface[0], occupancies=inside.astype(kind))
    np.testing.assert_array_equal(QueryFile(tmp_path / "points.npz").inside(np.arange(COUNT)), inside)


@pytest.mark.parametrize("table", ["float16", ">f2", "float64", "fortran"])
def test_arrays_of_any_layout(tmp_path, surface, table):
    points = np.asfortranarray(surface[0]) if table == "fortran" else surface[0].astype(table)
    rows = np.array([7, 3, 1000])
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "pointcloud.npz", points=points)
        file = SurfaceFile(tmp_path / "pointcloud.npz")
        np.testing.assert_array_equal(file.points(rows), points[rows].astype(np.float32))
        assert not file.has_normals


def test_stored_arrays_are_views_of_the_file_and_deflated_ones_are_not_kept(tmp_path, surface):
    np.savez(tmp_path / "a.npz", points=surface[0])
    np.savez_compressed(tmp_path / "b.npz", points=surface[0])
    stored, deflated = open_npz(tmp_path / "a.npz"), open_npz(tmp_path / "b.npz")
    assert stored.array("points") is stored.array("points")
    assert not stored.array("points").flags.writeable
    assert deflated.array("points") is not deflated.array("points")
    np.testing.assert_array_equal(stored.array("points"), deflated.array("points"))


def test_a_file_that_was_replaced_is_read_anew(tmp_path, surface):
    write_pointcloud(tmp_path / "pointcloud.npz", surface[0])
    old = SurfaceFile(tmp_path / "pointcloud.npz")
    before = old.points()
    write_pointcloud(tmp_path / "pointcloud.npz", surface[0] + 1)
    np.testing.assert_allclose(SurfaceFile(tmp_path / "pointcloud.npz").points(), before + 1, atol=2e-3)
    np.testing.assert_array_equal(old.points(), before)


def test_open_files_are_bounded(tmp_path, surface):
    for number in range(3 * npz.KEPT_OPEN):
        write_pointcloud(tmp_path / f"{number}.npz", surface[0][:50])
        SurfaceFile(tmp_path / f"{number}.npz").points(np.arange(3))
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert 0 < len(mapped) <= npz.KEPT_OPEN
    assert sum(str(tmp_path) in str(f.readlink()) for f in _open_files()) <= npz.KEPT_OPEN


def _open_files():
    return [f for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]


def test_rows_of_an_array_at_an_odd_place(rng):
    values = rng.random((40, 3)).astype(np.float32)
    odd = np.frombuffer(b"x" + values.tobytes(), np.uint8)[1:].view(np.float32).reshape(40, 3)
    assert not odd.flags.aligned
    rows = np.array([39, 0, 39])
    np.testing.assert_array_equal(rows_of(odd, rows), values[rows])


GOOD = {"points": np.zeros((16, 3)), "normals": np.ones((16, 3)), "occupancies": np.zeros(2, np.uint8)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": None}, "field 'points': it is missing (there are: normals, occupancies)"),
        (
            {"points": np.zeros((16, 4))},
            "field 'points': it holds float64 of shape (16, 4), not floats of shape (N, 3)",
        ),
        ({"points": np.zeros((0, 3))}, "field 'points': it holds float64 of shape (0, 3)"),
        ({"points": np.zeros((16, 3), int)}, "field 'points': it holds int64"),
        ({"points": np.full((16, 3), np.nan)}, "field 'points': 2 of the rows read are not finite"),
        ({"normals": None}, "field 'normals': it is missing"),
        ({"normals": np.ones((15, 3))}, "field 'normals': there are 15 for 16 points"),
        ({"normals": np.full((16, 3), np.inf)}, "field 'normals': 2 of the rows read are not finite"),
        ({"occupancies": None}, "field 'occupancies': it is missing"),
        ({"occupancies": np.zeros(3, np.uint8)}, "field 'occupancies': it holds uint8 of shape (3,) for 16 points"),
        ({"occupancies": np.full(16, 7, np.uint8)}, "field 'occupancies': some values lie outside [0, 1]"),
        ({"occupancies": np.full(16, np.nan)}, "field 'occupancies': some values lie outside [0, 1]"),
        ({"scale": np.float64(-1)}, "field 'scale': -1.0 is no positive number"),
        ({"scale": np.array([1.0, 2.0])}, "field 'scale': [1.0, 2.0] is no positive number"),
        ({"loc": np.zeros(2)}, "field 'loc': it has shape (2,), not (3,)"),
        ({"loc": np.full(3, np.nan)}, "field 'loc': it has shape (3,), or is not finite"),
        ({"points": np.array([{}, 1], dtype=object)}, "field 'points': it holds 'object', not numbers"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    path = tmp_path / "f.npz"
    np.savez(path, **{k: v for k, v in (GOOD | change).items() if v is not None})
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert caught.value.what.startswith(f"'{path}': {message}")
    assert caught.value.mend


def read_all(path: Path) -> None:
    rows = np.array([0, 3])
    for file in (SurfaceFile(path), QueryFile(path)):
        file.points(rows), file.points(), file.world(), file.verify()
        if isinstance(file, SurfaceFile):
            file.normals(rows), file.normals()
        else:
            file.inside(rows), file.inside()


def test_missing_empty_and_cut_files(tmp_path, surface, inside):
    path = tmp_path / "points.npz"
    with pytest.raises(DataError, match=r"points\.npz': No such file"):
        QueryFile(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no readable npz"):
        QueryFile(path)
    write_points(path, surface[0], inside)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"no readable npz"):
        QueryFile(path)
    with pytest.raises(DataError, match=r"Is a directory|no readable npz"):
        QueryFile(tmp_path)


def test_a_member_that_claims_a_terabyte(tmp_path):
    """In its npy header, or in the archive's directory, stored or deflated: an error, and no memory is taken."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (41666666666, 3), }"
    header = header.ljust(118 - 1) + b"\n"
    for way in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{way}.npz"
        with zipfile.ZipFile(path, "w", way) as archive:
            archive.writestr("points.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
        with pytest.raises(DataError, match=r"field 'points': its header announces shape \(41666666666, 3\)"):
            SurfaceFile(path)
        content = bytearray(path.read_bytes())
        place = content.rindex(b"PK\x01\x02")
        content[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)  # its size once inflated
        if way == zipfile.ZIP_STORED:
            content[place + 20 : place + 24] = struct.pack("<I", 0xFFFFFFF0)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"field 'points': it announces 4294967280 bytes"):
            SurfaceFile(path)


def test_a_wrong_checksum_is_found_when_all_is_read(tmp_path, surface):
    path = tmp_path / "pointcloud.npz"
    write_pointcloud(path, *surface)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    file = SurfaceFile(path)
    with pytest.raises(DataError, match="field 'points': its checksum is wrong"):
        file.verify()


def test_float16_that_cannot_hold_it_is_not_written(tmp_path):
    with pytest.raises(DataError, match="float16 cannot hold"):
        write_pointcloud(tmp_path / "p.npz", np.full((4, 3), 1e6))
    assert not list(tmp_path.iterdir())


@FUZZ
@given(data=st.data(), way=st.sampled_from([np.savez, np.savez_compressed]))
def test_damage_anywhere_is_a_data_error_or_harmless(tmp_path, data, way):
    path = tmp_path / "fuzz.npz"
    way(path, **{k: v for k, v in GOOD.items() if k != "points"}, points=np.ones((16, 3), np.float16), scale=1.0)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=4))
        content[place : place + len(patch)] = patch
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(DataError):
        read_all(path)


@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_are_a_data_error(tmp_path, content):
    path = tmp_path / "noise.npz"
    for tail in (b"", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content + tail)
        with pytest.raises(DataError):
            SurfaceFile(path)
