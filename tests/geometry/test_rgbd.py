"""Depth images to points and back: exact where geometry is exact, near where pixels are coarse."""

import numpy as np
import pytest
from PIL import Image

from recon.errors import DataError
from recon.geometry.depth_normals import depth_normals
from recon.geometry.rgbd import camera_points, depth_image, frame_cloud, fuse, thin
from recon.io.types import Cloud

K = np.array([[60.0, 0, 31], [0, 62.0, 25], [0, 0, 1]])
SIZE = (48, 64)


def turn(rng: np.random.Generator) -> np.ndarray:
    """A random camera-to-world pose."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    pose = np.eye(4)
    pose[:3, :3] = q * np.linalg.det(q)
    pose[:3, 3] = rng.normal(size=3)
    return pose


def plane_depth(normal: np.ndarray, distance: float, K: np.ndarray = K, size: tuple[int, int] = SIZE) -> np.ndarray:
    """z of the plane ``normal . x = distance`` (camera axes) at each pixel's centre."""
    rows, columns = np.indices(size) + 0.5
    rays = np.stack([columns, rows, np.ones(size)], axis=2) @ np.linalg.inv(K).T
    return distance / (rays @ normal)


def test_pixel_centres_are_at_half():
    depth = np.zeros(SIZE)
    depth[25, 31] = 2.0
    (point,), (pixel,) = camera_points(depth, K)
    assert pixel == 25 * 64 + 31
    assert np.allclose(point, [0.5 / 60 * 2, 0.5 / 62 * 2, 2])


def test_depth_to_cloud_to_depth(rng):
    depth = rng.uniform(0.5, 4, SIZE)
    depth[rng.random(SIZE) < 0.2] = 0
    depth[3, 4], depth[5, 6] = np.nan, -1
    pose = turn(rng)
    cloud = frame_cloud(depth, K, pose)
    known = np.nan_to_num(np.where(depth > 0, depth, 0))
    assert len(cloud.points) == (known > 0).sum()
    assert np.abs(depth_image(cloud.points, K, pose, SIZE) - known).max() < 1e-9


def test_the_nearest_point_hides_the_others_and_points_behind_are_not_seen():
    points = np.array([[0, 0, 3.0], [0, 0, 2.0], [0, 0, -1.0], [50, 0, 1.0]])
    depth = depth_image(points, K, np.eye(4), SIZE)
    assert depth[25, 31] == 2
    assert (depth > 0).sum() == 1


def test_normals_of_a_plane_are_exact_and_face_the_camera(rng):
    normal = np.array([0.3, -0.4, 1.0]) / np.linalg.norm([0.3, -0.4, 1.0])
    depth = plane_depth(normal, 2.0)
    found = depth_normals(depth, K)
    assert found[3:-3, 3:-3].any(axis=2).all()
    known = found.any(axis=2)
    assert np.abs(found[known] + normal).max() < 1e-9
    rough = depth_normals(depth + rng.normal(0, 0.002, SIZE), K)
    assert np.median(rough[rough.any(axis=2)] @ -normal) > 0.98


def test_there_are_no_normals_at_edges_and_holes():
    depth = np.full(SIZE, 2.0)
    depth[:, 32:] = 3.0
    depth[20:30, 5:15] = 0
    found = depth_normals(depth, K).any(axis=2)
    assert not found[:, 30:34].any()
    assert not found[20:30, 5:15].any()
    assert found[10, 10]
    cloud = frame_cloud(depth, K, np.eye(4), normals=True)
    assert cloud.normals is not None
    assert len(cloud.points) == found.sum()
    assert np.allclose(cloud.normals, [0, 0, -1])


def test_frames_of_one_plane_fuse_to_it(rng, monkeypatch):
    world = np.array([0.2, 0.1, -1.0]) / np.linalg.norm([0.2, 0.1, -1.0])
    clouds = []
    for _ in range(4):
        pose = np.eye(4)
        pose[:3, :3] = np.linalg.qr(np.eye(3) + 0.1 * rng.normal(size=(3, 3)))[0]
        pose[:3, :3] *= np.sign(np.diag(pose[:3, :3]))
        pose[:3, 3] = 0.2 * rng.normal(size=3)
        depth = plane_depth(pose[:3, :3].T @ world, -3 - world @ pose[:3, 3])
        rgb = np.full((*SIZE, 3), (10, 200, 30), dtype=np.uint8)
        clouds.append(frame_cloud(depth, K, pose, rgb, normals=True))
    fused = fuse(clouds, 0.05)
    monkeypatch.setattr("recon.geometry.rgbd.PENDING", 100)
    again = fuse(clouds, 0.05)
    assert np.allclose(again.points, fused.points)
    assert 200 < len(fused.points) < sum(len(c.points) for c in clouds) / 2
    assert np.abs(fused.points @ world + 3).max() < 1e-9
    assert np.abs(fused.normals - world).max() < 1e-6
    assert (fused.colors == (10, 200, 30)).all()


def test_voxels_hold_means_and_missing_fields_stay_missing():
    cloud = Cloud(np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.3], [-0.1, 0.0, 0.0]]))
    found = thin(cloud, 1.0)
    assert np.allclose(found.points, [[-0.1, 0, 0], [0.2, 0.2, 0.2]])
    assert found.normals is None
    assert found.colors is None
    colored = Cloud(cloud.points, colors=np.full((3, 3), 9, dtype=np.uint8))
    assert fuse([colored, cloud], 1.0).colors is None
    assert len(fuse([], 1.0).points) == len(fuse([Cloud(np.zeros((0, 3)))], 1.0).points) == 0


def test_points_too_far_for_their_voxels_are_an_error():
    for value in (1e9, np.nan):
        with pytest.raises(DataError, match="voxels of side"):
            thin(Cloud(np.array([[value, 0, 0]])), 0.01)


def test_real_frames_line_up(data_dir):
    """Neighbouring frames of a Kinect: what one sees lies within 3 cm of what the other sees."""
    folder = data_dir / "rgbd_7scenes"
    poses = sorted(folder.glob("*.pose.txt"))[:2]
    real = np.array([[585.0, 0, 320.5], [0, 585.0, 240.5], [0, 0, 1]])
    depths = [np.asarray(Image.open(str(file).replace("pose.txt", "depth.png"))) / 1000 for file in poses]
    depths = [np.where(depth < 60, depth, 0) for depth in depths]
    cloud = frame_cloud(depths[0], real, np.loadtxt(poses[0]))
    seen = depth_image(cloud.points, real, np.loadtxt(poses[1]), depths[1].shape)
    both = (seen > 0) & (depths[1] > 0)
    assert both.mean() > 0.1
    assert np.median(np.abs(seen - depths[1])[both]) < 0.03
