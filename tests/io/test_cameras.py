"""Camera files: what they say, copies without pickle, and damage that is told."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.cameras import read_camera_npz, read_data_dict

LIGHT = {
    "ambient_color": [[[0.2, 0.2, 0.2]]],
    "diffuse_color": [[[0, 0, 0.8], [0, 0.8, 0]]],
    "specular_color": [[[0, 0, 0], [0, 0, 0]]],
    "location": [[[1, 2, 3], [4, 5, 6]]],
}


def matrices(rng, numbers=(0, 1, 4), keys=("world_mat", "scale_mat", "camera_mat")):
    return {f"{key}_{n}": rng.normal(size=(4, 4)).astype(np.float32) for key in keys for n in numbers}


def test_matrices_by_number(tmp_path, rng):
    arrays = matrices(rng) | {"world_mat_inv_0": np.eye(4), "note": np.zeros(3)}
    arrays["world_mat_4"] = arrays["world_mat_4"][:3]
    np.savez(tmp_path / "cameras.npz", **arrays)
    found = read_camera_npz(tmp_path / "cameras.npz")
    assert found.numbers == (0, 1, 4)
    np.testing.assert_array_equal(found.world[2], np.vstack([arrays["world_mat_4"], [0, 0, 0, 1]]))
    np.testing.assert_array_equal(found.scale[1], arrays["scale_mat_1"])
    some = found.of([4, 0])
    np.testing.assert_array_equal(some.unit, [arrays["camera_mat_4"], arrays["camera_mat_0"]])
    np.savez(tmp_path / "bare.npz", **matrices(rng, keys=("world_mat",)))
    bare = read_camera_npz(tmp_path / "bare.npz")
    assert bare.scale is None
    assert bare.unit is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"world_mat_1": np.eye(3)}, "world_mat_1"),
        ({"scale_mat_1": np.full((4, 4), np.nan)}, "scale_mat_1"),
        ({"world_mat_1": np.array("text")}, "world_mat_1"),
        ({"world_mat_1": np.array([{}], dtype=object)}, "world_mat_1"),
        ({"world_mat_7": np.eye(4)}, "scale_mat_7"),
    ],
)
def test_wrong_matrices_are_named(tmp_path, rng, change, words):
    np.savez(tmp_path / "cameras.npz", **(matrices(rng) | change))
    with pytest.raises(DataError, match=rf"cameras\.npz.*'{words}'"):
        read_camera_npz(tmp_path / "cameras.npz")


def test_files_that_hold_no_cameras_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", points=np.zeros(3))
    with pytest.raises(DataError, match=r"world_mat_0.*points"):
        read_camera_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"missing\.npz"):
        read_camera_npz(tmp_path / "missing.npz")


def data_dict(rng, views=2, **change):
    arrays = {
        "cameras_type": np.array("pytorch3d.renderer.cameras.FoVPerspectiveCameras"),
        "cameras_params": np.array({"znear": 0.1, "fov": 50.0}, dtype=object),
        "lights_type": np.array("DSS.core.lighting.PointLights"),
        "camera_mat": rng.normal(size=(views, 4, 4)),
        "points": rng.normal(size=(5, 3)).astype(np.float32),
    }
    arrays |= {f"lights_{i}": np.array(LIGHT, dtype=object) for i in range(views)}
    return arrays | change


def test_data_dict_of_iso_points_and_its_copy_without_pickle(tmp_path, rng):
    arrays = data_dict(rng)
    np.savez(tmp_path / "data_dict.npz", **arrays)
    first = read_data_dict(tmp_path / "data_dict.npz")
    copy = tmp_path / "data_dict_plain.npz"
    with np.load(copy, allow_pickle=False) as plain:
        assert json.loads(plain["cameras_params"].item()) == {"znear": 0.1, "fov": 50.0}
        np.testing.assert_array_equal(plain["points"], arrays["points"])
    written = copy.stat().st_mtime_ns
    again = read_data_dict(tmp_path / "data_dict.npz")
    assert copy.stat().st_mtime_ns == written
    for found in (first, again, read_data_dict(copy)):
        assert found.kind == "FoVPerspectiveCameras"
        assert found.options["fov"] == 50.0
        np.testing.assert_array_equal(found.view, arrays["camera_mat"])
        assert len(found.lights) == 2
        assert found.lights[0].kind == "point"
        np.testing.assert_array_equal(found.lights[1].place, [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_array_equal(found.lights[1].ambient, [[0.2, 0.2, 0.2]])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["data_dict.npz", "data_dict_plain.npz"]


def test_options_that_are_arrays_go_into_the_copy(tmp_path, rng):
    np.savez(tmp_path / "data_dict.npz", **data_dict(rng, cameras_params=np.array({"fov": np.array([50.0])}, object)))
    for _ in range(2):
        assert read_data_dict(tmp_path / "data_dict.npz").options["fov"] == [50.0]
    assert (tmp_path / "data_dict_plain.npz").is_file()


def test_a_newer_data_dict_is_read_anew(tmp_path, rng):
    np.savez(tmp_path / "data_dict.npz", **data_dict(rng))
    read_data_dict(tmp_path / "data_dict.npz")
    newer = data_dict(rng, views=3)
    np.savez(tmp_path / "data_dict.npz", **newer)
    np.testing.assert_array_equal(read_data_dict(tmp_path / "data_dict.npz").view, newer["camera_mat"])


def test_a_folder_that_may_not_be_written_to_is_no_hindrance(tmp_path, rng, monkeypatch):
    np.savez(tmp_path / "data_dict.npz", **data_dict(rng))

    def refused(path):
        raise DataError(f"Cannot write '{path}'.")

    monkeypatch.setattr("recon.io.cameras.atomic", refused)
    assert len(read_data_dict(tmp_path / "data_dict.npz").lights) == 2
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera_mat": np.zeros((2, 3))}, "camera_mat"),
        ({"camera_mat": np.full((2, 4, 4), np.inf)}, "camera_mat"),
        ({"cameras_params": np.array([1.0])}, "cameras_params"),
        ({"cameras_params": np.array("{no json")}, "cameras_params"),
        ({"lights_1": np.array({"location": [[1, 2, 3]]}, dtype=object)}, "lights_1"),
        ({"lights_1": np.array(LIGHT | {"location": "here"}, dtype=object)}, "lights_1"),
        ({"lights_1": np.array(json.dumps(LIGHT | {"location": [10**400, 0, 0]}))}, "lights_1"),
    ],
)
def test_wrong_data_dicts_are_named(tmp_path, rng, change, words):
    np.savez(tmp_path / "data_dict.npz", **data_dict(rng, **change))
    with pytest.raises(DataError, match=rf"data_dict\.npz.*'{words}'"):
        read_data_dict(tmp_path / "data_dict.npz")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(noise=st.binary(max_size=80), where=st.integers(0, 100_000), compressed=st.booleans())
def test_damage_is_told(tmp_path_factory, noise, where, compressed):
    stream = io.BytesIO()
    rng = np.random.default_rng(0)
    (np.savez_compressed if compressed else np.savez)(stream, **data_dict(rng), **matrices(rng))
    data = bytearray(stream.getvalue())
    where %= len(data)
    data[where : where + len(noise)] = noise
    folder = tmp_path_factory.mktemp("damage")
    for content in (bytes(data), bytes(data[:where]), noise):
        (folder / "a.npz").write_bytes(content)
        for read in (read_camera_npz, read_data_dict):
            try:
                read(folder / "a.npz")
            except DataError as error:
                assert "a.npz" in str(error)  # noqa: PT017 - most files are not damaged where it matters
