"""transforms.json: Blender's, nerfstudio's and instant-ngp's ways to say the same, and damaged ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.clouds import write_cloud
from recon.io.images import write_png
from recon.io.transforms import find_transforms, parse_document, read_transforms
from recon.io.types import Cloud

HARMLESS = settings(max_examples=30, deadline=None, derandomize=True)
EYE = np.eye(4).tolist()


def written(folder, document, name="transforms.json"):
    (folder / name).write_text(json.dumps(document))
    return folder


def test_blender(tmp_path):
    """The angle of view alone, files without suffix, splits, and OpenGL axes."""
    matrix = np.eye(4)
    matrix[:3, 3] = [0, 0, 4]  # looks down the world's -z, at the origin
    frame = {"file_path": "./train/r_0", "rotation": 0.01, "transform_matrix": matrix.tolist()}
    (tmp_path / "train").mkdir()
    write_png(tmp_path / "train/r_0.png", np.zeros((60, 80, 4), dtype=np.uint8))
    for split in ("test", "train", "val"):
        written(tmp_path, {"camera_angle_x": 0.6911112, "frames": [frame]}, f"transforms_{split}.json")
    assert find_transforms(tmp_path) == tmp_path / "transforms_train.json"
    (shot,) = read_transforms(tmp_path).shots
    assert shot.image == tmp_path / "train/r_0.png"
    focal = 40 / math.tan(0.6911112 / 2)
    np.testing.assert_allclose(shot.intrinsics, [[focal, 0, 40], [0, focal, 30], [0, 0, 1]])
    # The origin lies in the middle, a point above it (world y up) in the upper half.
    camera = shot.pose[:3, :3].T @ (np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]]) - shot.pose[:3, 3]).T
    np.testing.assert_allclose(camera.T, [[0, 0, 4], [0, -1, 4], [1, 0, 4]])
    assert np.linalg.det(shot.pose[:3, :3]) == pytest.approx(1)


def test_nerfstudio_frames_have_their_own_cameras_masks_and_depth(tmp_path):
    cloud = np.random.default_rng(0).normal(size=(40, 3))
    write_cloud(tmp_path / "sparse.ply", Cloud(cloud))
    common = {"fl_x": 100, "fl_y": 101, "cx": 41, "cy": 31, "w": 80, "h": 60, "k1": 0.1, "p2": -0.01}
    frames = [
        {"file_path": "images/b.jpg", "transform_matrix": EYE, "fl_x": 200, "k1": 0.0, "k3": 0.5},
        {
            "file_path": "images\\a.jpg",
            "transform_matrix": EYE[:3],
            "mask_path": "masks/a.png",
            "depth_file_path": "depth/a.png",
        },
    ]
    document = {**common, "camera_model": "OPENCV", "frames": frames, "ply_file_path": "sparse.ply"}
    capture = read_transforms(written(tmp_path, document))
    a, b = capture.shots
    assert (a.image, b.image) == (tmp_path / "images/a.jpg", tmp_path / "images/b.jpg")
    assert (a.mask, a.depth, b.mask) == (tmp_path / "masks/a.png", tmp_path / "depth/a.png", None)
    assert a.intrinsics.tolist() == [[100, 0, 41], [0, 101, 31], [0, 0, 1]]
    assert b.intrinsics[0, 0] == 200
    assert a.distortion.tolist() == [0.1, 0, 0, -0.01, 0, 0, 0, 0]
    assert b.distortion.tolist() == [0, 0, 0, -0.01, 0.5, 0, 0, 0]
    assert a.size == (80, 60)
    np.testing.assert_allclose(capture.sparse, cloud)
    assert capture.box is None
    assert capture.depth_unit == 0.001


def test_instant_ngp_learns_a_cube(tmp_path):
    frame = {"file_path": "a.png", "transform_matrix": EYE}
    document = {
        "fl_x": 9,
        "cx": 4,
        "cy": 3,
        "frames": [frame],
        "scale": 0.5,
        "offset": [0.5, 0.25, 0],
        "aabb_scale": 16,
    }
    np.testing.assert_allclose(read_transforms(written(tmp_path, document)).box, [[-1, -0.5, 0], [1, 1.5, 2]])
    del document["offset"]
    capture = read_transforms(written(tmp_path, {**document, "integer_depth_scale": 0.0002}))
    np.testing.assert_allclose(capture.box, [[-1, -1, -1], [1, 1, 1]])
    assert capture.depth_unit == 0.0002


FRAME = {"file_path": "a.png", "transform_matrix": EYE}
GOOD = {"fl_x": 9, "cx": 4, "cy": 3, "w": 8, "h": 6, "frames": [FRAME]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frames": []}, "no list 'frames'"),
        ({"frames": [3]}, "no list 'frames'"),
        ({"frames": [{"file_path": "a.png"}]}, "'transform_matrix' is missing"),
        ({"frames": [{**FRAME, "transform_matrix": [[1, 2], [3]]}]}, "'transform_matrix'"),
        ({"frames": [{**FRAME, "transform_matrix": [["x"] * 4] * 4}]}, "'transform_matrix'"),
        ({"frames": [{**FRAME, "transform_matrix": (-np.eye(4)).tolist()}]}, "'transform_matrix'.*ends in"),
        ({"frames": [{**FRAME, "transform_matrix": np.diag([1, 1, -1, 1]).tolist()}]}, "mirrors"),
        ({"frames": [{"transform_matrix": EYE}]}, "'file_path' is missing"),
        ({"frames": [{**FRAME, "file_path": 7}]}, "'file_path' names no file"),
        ({"fl_x": "wide"}, "'fl_x'.*not a number"),
        ({"fl_x": 0}, "focal length"),
        ({"fl_x": 10**400}, "'fl_x'"),
        ({"w": 10**9}, "'w', 'h'"),
        ({"camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE.*image_undistorter"),
        ({"is_fisheye": True}, "fisheye"),
        ({"scale": -1}, "'scale', 'offset'"),
        ({"offset": [1, 2]}, "'scale', 'offset'"),
    ],
)
def test_damaged_files(tmp_path, change, match):
    with pytest.raises(DataError, match=rf"(?s)transforms\.json.*{match}"):
        read_transforms(written(tmp_path, {**GOOD, **change}))


def test_files_that_are_no_json(tmp_path):
    for text in ("", "{", "[" * 100_000, "[]", "null", "\x00\xff"):
        (tmp_path / "transforms.json").write_text(text)
        with pytest.raises(DataError, match=r"transforms\.json"):
            read_transforms(tmp_path)
    with pytest.raises(DataError, match=r"there is no transforms\.json"):
        read_transforms(tmp_path / "none")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
FIELDS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "p1", "camera_angle_x", "camera_model", "is_fisheye", "scale")
FIELDS += ("offset", "integer_depth_scale", "ply_file_path", "frames")
IN_FRAME = ("file_path", "transform_matrix", "mask_path", "depth_file_path", "fl_x", "w")


@HARMLESS
@given(
    data=st.binary(max_size=200), field=st.sampled_from(FIELDS), value=JSON, inner=st.sampled_from(IN_FRAME), other=JSON
)
def test_no_document_does_harm(tmp_path_factory, data, field, value, inner, other):
    folder = tmp_path_factory.mktemp("t")
    documents = [{**GOOD, field: value}, {**GOOD, "frames": [{**FRAME, inner: other}]}]
    for text in (data, *(json.dumps(document).encode() for document in documents)):
        (folder / "transforms.json").write_bytes(text)
        try:
            read_transforms(folder)
        except DataError as error:
            assert "transforms.json" in str(error) or "a.png" in str(error) or "image" in str(error)  # noqa: PT017


def test_frames_are_sorted_by_name():
    document = {"frames": [{"file_path": "b"}, {"file_path": "a"}, {}]}
    assert parse_document(json.dumps(document).encode())["frames"] == [{}, {"file_path": "a"}, {"file_path": "b"}]
