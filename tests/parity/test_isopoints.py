"""Iso-Points and IDR against numbers recorded from the originals.

Files are found by listing, and sizes and keys are read from them, so another set of the same layout serves as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.geometry.cameras import compose, decompose, depth_of, frame_of, into_frame, rays
from recon.geometry.conventions import quaternion_of, rotation_of
from recon.rendering.rays import rays as torch_rays
from recon.rendering.rays import sphere_interval

ROOT = Path(os.environ.get("RECON_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "parity") / "isopoints"
RAYS = 1e-5


def _files(pattern: str, *keys: str) -> list[Any]:
    """Files of that name that have these keys."""
    found = []
    for path in sorted(ROOT.rglob(pattern)):
        with np.load(path) as data:
            if set(keys) <= set(data.files):
                found.append(pytest.param(path, id=f"{path.parent.name}/{path.stem}"))
    return found


# --- cameras ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", _files("camera*.npz", "P", "intrinsics", "pose"))
def test_projection_to_k_and_pose(path):
    data = np.load(path)
    k, pose = decompose(data["P"])
    np.testing.assert_allclose(k, data["intrinsics"][:, :3, :3], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(pose, data["pose"], atol=2e-6)
    again = compose(k, pose)
    scale = again[:, 2:3, :3] @ data["P"][:, 2, :3, None] / np.sum(data["P"][:, 2:3, :3] ** 2, axis=2)[..., None]
    np.testing.assert_allclose(again, data["P"] * scale, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("path", _files("camera*.npz", "world_mat", "scale_mat", "intrinsics", "pose"))
def test_world_and_scale_matrices_to_local_cameras(path):
    data = np.load(path)
    k, pose = decompose(data["world_mat"])
    local = into_frame(pose, frame_of(data["scale_mat"]))
    np.testing.assert_allclose(k, data["intrinsics"][:, :3, :3], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(local, data["pose"], atol=5e-6)


@pytest.mark.parametrize("path", _files("camera*.npz", "uv", "ray_dirs", "cam_loc", "P"))
def test_rays(path):
    data = np.load(path)
    k, pose = decompose(data["P"])
    origins, directions = rays(data["uv"], k, pose)
    np.testing.assert_allclose(directions, data["ray_dirs"], atol=RAYS)
    np.testing.assert_allclose(origins, np.broadcast_to(data["cam_loc"][:, None], origins.shape), atol=RAYS)
    o, d = torch_rays(*(torch.from_numpy(np.float32(x)) for x in (data["uv"], k, pose)))
    np.testing.assert_allclose(d.numpy(), data["ray_dirs"], atol=RAYS)
    np.testing.assert_allclose(o.numpy(), origins, atol=RAYS)


@pytest.mark.parametrize("path", _files("camera*.npz", "quat", "R_from_quat", "ray_dirs_from_quat"))
def test_quaternions(path):
    data = np.load(path)
    rotation = rotation_of(data["quat"])
    np.testing.assert_allclose(rotation, data["R_from_quat"], atol=1e-6)
    unit = data["quat"] / np.linalg.norm(data["quat"], axis=1, keepdims=True)
    np.testing.assert_allclose(quaternion_of(data["R_from_quat"]), unit * np.sign(unit[:, :1]), atol=1e-6)
    k, pose = decompose(data["P"])
    pose[:, :3, :3], pose[:, :3, 3] = rotation, data["cam_loc_from_quat"]
    np.testing.assert_allclose(rays(data["uv"], k, pose)[1], data["ray_dirs_from_quat"], atol=RAYS)


@pytest.mark.parametrize("path", _files("camera*.npz", "sphere_intersections", "sphere_mask"))
def test_sphere_of_interest(path):
    data = np.load(path)
    directions = torch.from_numpy(data["ray_dirs"])
    origins = torch.from_numpy(data["cam_loc"])[:, None].expand_as(directions)
    near, far, hit = sphere_interval(origins, directions)
    # Grazing rays: what the square root is drawn of is known to the rounding of a few |o|^2 only.
    expected = data["sphere_intersections"]
    chord = expected[..., 1] - expected[..., 0]
    sure = chord > 0.05
    assert (hit.numpy() == data["sphere_mask"])[sure | (chord == 0)].mean() > 0.998
    np.testing.assert_allclose(near.numpy()[sure], expected[sure][:, 0], atol=1e-4)
    np.testing.assert_allclose(far.numpy()[sure], expected[sure][:, 1], atol=1e-4)
    assert (near.numpy()[~data["sphere_mask"] & ~hit.numpy()] == 0).all()


@pytest.mark.parametrize("path", _files("camera*.npz", "depth_points", "depth", "pose"))
def test_depth_of_points(path):
    data = np.load(path)
    np.testing.assert_allclose(depth_of(data["depth_points"], data["pose"]), data["depth"][..., 0], atol=RAYS)
