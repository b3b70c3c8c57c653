"""COLMAP models: what was written is read, text and binary alike, and no bytes do harm."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.errors import DataError
from recon.io import colmap_files
from recon.io.colmap import find_model, read_colmap
from recon.io.parsing import FormatError
from tests.data.recordings import model_bytes, write_model

HARMLESS = settings(max_examples=30, deadline=None, derandomize=True)
PARSERS = [
    colmap_files.parse_cameras,
    colmap_files.parse_images,
    colmap_files.parse_points,
    colmap_files.parse_cameras_text,
    colmap_files.parse_images_text,
    colmap_files.parse_points_text,
]
CAMERAS = [
    (1, "SIMPLE_PINHOLE", 640, 480, [500.0, 320.0, 240.0]),
    (2, "PINHOLE", 640, 480, [500.0, 510.0, 321.0, 241.0]),
    (3, "SIMPLE_RADIAL", 640, 480, [500.0, 320.0, 240.0, 0.1]),
    (4, "RADIAL", 640, 480, [500.0, 320.0, 240.0, 0.1, -0.2]),
    (5, "OPENCV", 640, 480, [500.0, 510.0, 321.0, 241.0, 0.1, -0.2, 0.01, -0.02]),
    (7, "FULL_OPENCV", 640, 480, [500.0, 510.0, 321.0, 241.0, 0.1, -0.2, 0.01, -0.02, 0.3, 0.4, 0.5, 0.6]),
]
FISHEYE = (9, "OPENCV_FISHEYE", 640, 480, [500.0, 510.0, 321.0, 241.0, 0.1, 0.0, 0.0, 0.0])


def model(rng, cameras=CAMERAS) -> tuple[list, list, np.ndarray]:
    images = []
    for i, camera in enumerate(cameras):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(random_state=i).as_matrix()
        pose[:3, 3] = rng.normal(size=3)
        images.append((f"a folder/Bild ü {i}.jpg", camera[0], pose))
    return cameras, images, rng.normal(size=(50, 3))


def project_folder(tmp_path, parts, text: bool):
    write_model(tmp_path / "sparse/0", *parts, text)
    for name, _, _ in parts[1]:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    return tmp_path


@pytest.mark.parametrize("text", [True, False])
def test_round_trip(tmp_path, rng, text):
    parts = model(rng)
    capture = read_colmap(project_folder(tmp_path, parts, text))
    assert [shot.image for shot in capture.shots] == [tmp_path / "images" / name for name, _, _ in parts[1]]
    for shot, (_, _, pose) in zip(capture.shots, parts[1], strict=True):
        np.testing.assert_allclose(shot.pose @ pose, np.eye(4), atol=1e-12)
        assert shot.size == (640, 480)
    np.testing.assert_array_equal(capture.sparse, parts[2])
    assert capture.shots[0].intrinsics.tolist() == [[500, 0, 320], [0, 500, 240], [0, 0, 1]]
    assert capture.shots[5].intrinsics.tolist() == [[500, 0, 321], [0, 510, 241], [0, 0, 1]]
    lenses = [shot.distortion.tolist() for shot in capture.shots]
    assert lenses[0] == lenses[1] == [0] * 8
    assert lenses[2] == [0.1, 0, 0, 0, 0, 0, 0, 0]
    assert lenses[3] == [0.1, -0.2, 0, 0, 0, 0, 0, 0]
    assert lenses[4] == [0.1, -0.2, 0.01, -0.02, 0, 0, 0, 0]
    assert lenses[5] == [0.1, -0.2, 0.01, -0.02, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("place", [".", "sparse", "sparse/0", "colmap/sparse/0", "dense/sparse"])
def test_models_are_found_with_their_images(tmp_path, rng, place):
    parts = model(rng, CAMERAS[:1])
    write_model(tmp_path / "p" / place if place != "." else tmp_path / "p", *parts, text=False)
    image = tmp_path / "p/images" / parts[1][0][0]
    image.parent.mkdir(parents=True)
    image.touch()
    assert read_colmap(tmp_path / "p").shots[0].image == image
    assert read_colmap(tmp_path / "p" / place).shots[0].image.samefile(image)
    elsewhere = tmp_path / "elsewhere"
    assert read_colmap(tmp_path / "p", images=elsewhere).shots[0].image == elsewhere / parts[1][0][0]


def test_a_fisheye_lens_is_refused_with_the_command_that_helps(tmp_path, rng):
    folder = project_folder(tmp_path, model(rng, [FISHEYE]), text=False)
    with pytest.raises(DataError, match=r"(?s)camera 9 is of the model OPENCV_FISHEYE.*colmap image_undistorter"):
        read_colmap(folder)


def test_models_that_are_not_whole(tmp_path, rng):
    assert find_model(tmp_path) is None
    with pytest.raises(DataError, match="no COLMAP model"):
        read_colmap(tmp_path)
    cameras, images, points = model(rng)
    write_model(tmp_path / "a", cameras[1:], images, points, text=True)
    (tmp_path / "a" / images[0][0]).parent.mkdir()
    (tmp_path / "a" / images[0][0]).touch()
    with pytest.raises(DataError, match="names camera 1, which is not among the cameras"):
        read_colmap(tmp_path / "a")
    write_model(tmp_path / "b", cameras, images, points, text=True)
    with pytest.raises(DataError, match="photographs are not beside it"):
        read_colmap(tmp_path / "b")
    write_model(tmp_path / "c", cameras, [("../../x.png", 1, np.eye(4))], points, text=False)
    with pytest.raises(DataError, match=r"images\.bin.*names no file under the folder"):
        read_colmap(tmp_path / "c")


@pytest.mark.parametrize("stem", ["cameras", "images", "points3D"])
def test_binary_files_that_are_cut_anywhere(rng, stem):
    cameras, images, points = model(rng)
    data = model_bytes(cameras, images, points[:5], text=False)[stem]
    parse = dict(zip(("cameras", "images", "points3D"), PARSERS, strict=False))[stem]
    parse(data)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:end])


@pytest.mark.parametrize("parse", PARSERS[:3])
@pytest.mark.parametrize("count", [2**63, 2**64 - 1, 10**9])
def test_huge_counts_take_no_memory(parse, count):
    with pytest.raises(FormatError, match="announces"):
        parse(struct.pack("<Q", count) + b"\0" * 1000)


@pytest.mark.parametrize("parse", PARSERS)
@HARMLESS
@given(data=st.binary(max_size=300), flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_no_bytes_do_harm(parse, data, flips):
    rng = np.random.default_rng(0)
    binary, text = (model_bytes(*model(rng), text=is_text) for is_text in (False, True))
    whole = [*binary.values(), *text.values()][PARSERS.index(parse)]
    damaged = bytearray(whole)
    for place, value in flips:
        damaged[place % len(damaged)] = value
    for candidate in (data, bytes(damaged), whole[:50] + data, struct.pack("<Q", 1) + data):
        try:
            with np.errstate(all="ignore"):
                parse(candidate)
        except FormatError:
            pass
