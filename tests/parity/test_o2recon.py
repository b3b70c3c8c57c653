"""O2-Recon (with NeuS and NeuRIS) against numbers recorded from the originals.

Files are found by listing, and sizes and keys are read from them, so another set of the same layout serves as well.
The originals' pixel centres are at integers; here K is used as recorded, with pixels as recorded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.geometry.cameras import (
    backproject,
    compose,
    cropped,
    decompose,
    frame_of,
    into_frame,
    invert,
    look_at,
    rays,
    recentred,
    resized,
)
from recon.geometry.frames import Frame
from recon.io.scannet import instance_vertices, read_aggregation, read_segments
from recon.io.sens import read_sens
from recon.rendering.rays import sphere_span

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "o2recon"


def _files(pattern: str, *keys: str) -> list[Any]:
    """Files of that name that have these keys."""
    found = []
    for path in sorted(ROOT.rglob(pattern)):
        with np.load(path) as data:
            if set(keys) <= set(data.files):
                found.append(pytest.param(path, id=f"{path.parent.name}/{path.stem}"))
    return found


# --- cameras ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", _files("camera*.npz", "points_f64", "trans_n2w_f64", "scale_f64"))
def test_frame_of_points(path):
    """Their frame: the box's centre, and half its diagonal."""
    data = np.load(path)
    points, frame = data["points_f64"], frame_of(data["trans_n2w_f64"])
    low, high = points.min(axis=0), points.max(axis=0)
    expected = Frame(float(np.linalg.norm(high - low) / 2), translation=(low + high) / 2)
    np.testing.assert_allclose(frame.scale, expected.scale, rtol=1e-9)
    np.testing.assert_allclose(frame.scale, data["scale_f64"], rtol=1e-12)
    np.testing.assert_allclose(frame.translation, expected.translation, atol=1e-7)


@pytest.mark.parametrize("path", _files("camera*.npz", "c2w", "K", "world_mat", "w2c_norm", "trans_n2w_f64"))
def test_cameras_in_a_frame(path):
    data = np.load(path)
    local = into_frame(data["c2w"], frame_of(data["trans_n2w_f64"]))
    np.testing.assert_allclose(invert(local), data["w2c_norm"], atol=1e-6)
    projection = compose(data["K"][:3, :3], local)
    np.testing.assert_allclose(projection, data["world_mat"][:, :3], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("path", _files("camera*.npz", "world_mat", "parsed_K", "parsed_pose"))
def test_parsed_cameras(path):
    data = np.load(path)
    k, pose = decompose(data["world_mat"])
    np.testing.assert_allclose(k, data["parsed_K"][:, :3, :3], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(pose, data["parsed_pose"], atol=1e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "generic_P", "generic_K", "generic_pose"))
def test_projection_of_negative_scale_with_skew(path):
    """OpenCV may give negative focal lengths; the same camera with positive ones has the axes turned."""
    data = np.load(path)
    k, pose = decompose(data["generic_P"])
    signs = np.sign(np.diag(data["generic_K"])[:3])
    np.testing.assert_allclose(k, data["generic_K"][:3, :3] * signs, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(pose[:3, :3], data["generic_pose"][:3, :3] * signs, atol=1e-6)
    np.testing.assert_allclose(pose[:3, 3], data["generic_pose"][:3, 3], atol=1e-6)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("path", _files("camera*.npz", "rays_o_l1", "rays_d_l1", "parsed_K", "parsed_pose"))
def test_rays_at_levels(path):
    """Of view 1: every `level`-th pixel, spread from the first to the last."""
    data = np.load(path)
    height, width = data["rays_d_l1"].shape[:2]
    for key in (key for key in data.files if key.startswith("rays_d_l")):
        level = int(key.removeprefix("rays_d_l"))
        u, v = np.meshgrid(np.linspace(0, width - 1, width // level), np.linspace(0, height - 1, height // level))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
        origins, directions = rays(pixels, data["parsed_K"][1, :3, :3], data["parsed_pose"][1])
        np.testing.assert_allclose(directions, data[key].reshape(-1, 3), atol=1e-6)
        np.testing.assert_allclose(origins, data[key.replace("_d_", "_o_")].reshape(-1, 3), atol=1e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "sphere_o", "sphere_d", "sphere_near", "sphere_far"))
def test_span_about_the_sphere(path):
    data = np.load(path)
    near, far = sphere_span(torch.from_numpy(data["sphere_o"]), torch.from_numpy(data["sphere_d"]))
    np.testing.assert_allclose(near.numpy(), data["sphere_near"][:, 0], atol=1e-5)
    np.testing.assert_allclose(far.numpy(), data["sphere_far"][:, 0], atol=1e-5)


@pytest.mark.parametrize("path", _files("camera*.npz", "cw_forward", "cw_origin", "cw_pose"))
def test_look_at(path):
    data = np.load(path)
    pose = look_at(data["cw_origin"], data["cw_origin"] + data["cw_forward"].astype(np.float64), np.array([0, 0, 1.0]))
    np.testing.assert_allclose(pose, data["cw_pose"], atol=1e-5)


@pytest.mark.parametrize("path", _files("camera*.npz", "novel_pose", "novel_corners_cam", "bbox_min", "bbox_max"))
def test_box_in_a_camera(path):
    data = np.load(path)
    box = np.stack([data["bbox_min"], data["bbox_max"]]).astype(np.float64)
    corners = np.stack(np.meshgrid(*box.T, indexing="ij"), axis=-1).reshape(-1, 3)
    world_to_camera = invert(data["novel_pose"])
    ours = corners @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    theirs = data["novel_corners_cam"][..., 0]
    np.testing.assert_allclose(ours[np.lexsort(ours.round(4).T)], theirs[np.lexsort(theirs.round(4).T)], atol=1e-5)
    # Theirs bound the ray distance by the corners' depth.
    np.testing.assert_allclose(0.9 * ours[:, 2].min(), data["novel_near"][0], atol=1e-5)
    np.testing.assert_allclose(1.1 * ours[:, 2].max(), data["novel_far"][0], atol=1e-5)


@pytest.mark.parametrize("path", _files("camera*.npz", "Kcolor", "Kcolor_crop_resize"))
def test_crop_and_resize(path):
    """ScanNet's colour images, 1296 x 968, lose a border of 24 and 16 pixels and become 640 x 480."""
    data = np.load(path)
    k = resized(cropped(data["Kcolor"][:3, :3], 24, 16), (936, 1248), (480, 640))
    np.testing.assert_allclose(k, data["Kcolor_crop_resize"][:3, :3], rtol=1e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "cam_normals", "ext_w2c", "world_normals_neg"))
def test_normals_of_a_camera_in_the_world(path):
    data = np.load(path)
    rotation = invert(data["ext_w2c"])[:3, :3]
    np.testing.assert_allclose(-data["cam_normals"] @ rotation.T, data["world_normals_neg"], atol=1e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "fuse_depth", "fuse_mask", "fuse_K", "fuse_w2c", "fuse_points"))
def test_depth_to_points(path):
    """Pixels without depth, which theirs keep at the camera's centre, are left out."""
    data = np.load(path)
    known = data["fuse_depth"][data["fuse_mask"]] > 0
    depth = np.where(data["fuse_mask"], data["fuse_depth"], 0)
    pose = invert(data["fuse_w2c"])
    points = backproject(depth, recentred(data["fuse_K"][:3, :3]), pose)
    np.testing.assert_allclose(points, data["fuse_points"][known], atol=2e-6)
    np.testing.assert_allclose(data["fuse_points"][~known], np.tile(pose[:3, 3], ((~known).sum(), 1)), atol=2e-6)


# --- recordings and annotations ---------------------------------------------------------------------------------------


def _recordings() -> list[Any]:
    """Each recording with the file of what is in it: the one beside it that is named after it, or any."""
    found = []
    for path in sorted(ROOT.rglob("*.sens")):
        beside = [p.values[0] for p in _files("*.npz", "mats", "pose0", "depth0") if p.values[0].parent == path.parent]
        if beside:
            named = max(beside, key=lambda file: file.stem.startswith(path.stem))
            found.append(pytest.param(path, named, id=f"{path.parent.name}/{path.stem}"))
    return found


@pytest.mark.parametrize(("path", "expected"), _recordings())
def test_recording(path, expected):
    """Matrices in the file's order, poses (one of them lost) and depths; the colour images decode to their size."""
    data, sens = np.load(expected), read_sens(path)
    matrices = (sens.color_intrinsic, sens.color_extrinsic, sens.depth_intrinsic, sens.depth_extrinsic)
    np.testing.assert_array_equal(np.stack(matrices), data["mats"])
    assert len(sens) == sum(key.startswith("pose") for key in data.files)
    for frame in range(len(sens)):
        np.testing.assert_array_equal(sens.poses[frame], data[f"pose{frame}"])
        np.testing.assert_array_equal(sens.depth_counts(frame), data[f"depth{frame}"])
        np.testing.assert_allclose(sens.depth(frame), data[f"depth{frame}"] / sens.depth_shift, rtol=1e-6)
        assert sens.color(frame).shape == (*sens.color_size, 3)


@pytest.mark.parametrize("path", _files("gt_segment*.npz", "vertices", "aggregation_json", "segs_json"))
def test_vertices_of_objects(path, tmp_path):
    data = np.load(path)
    (tmp_path / "aggregation.json").write_text(str(data["aggregation_json"]))
    (tmp_path / "segs.json").write_text(str(data["segs_json"]))
    groups = read_aggregation(tmp_path / "aggregation.json")
    found = instance_vertices(groups, read_segments(tmp_path / "segs.json"))
    keys = [key for key in data.files if key.startswith("obj_")]
    assert {f"obj_{number}" for number in found} == set(keys)
    for key in keys:
        np.testing.assert_array_equal(data["vertices"][found[int(key[4:])]], data[key])
