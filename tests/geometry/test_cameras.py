"""Cameras: projection matrices, pixels, depths and rays, and the conventions of other programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.geometry.cameras import (
    backproject,
    compose,
    cropped,
    decompose,
    depth_of,
    frame_of,
    into_frame,
    invert,
    look_at,
    matrix_of,
    out_of_frame,
    pixel_centres,
    project,
    rays,
    recentred,
    resized,
    strided,
    unproject,
)
from recon.geometry.conventions import (
    from_pytorch3d,
    intrinsics_of_fov,
    intrinsics_of_ndc,
    ndc_of_intrinsics,
    opengl,
    quaternion_of,
    rotation_of,
    to_pytorch3d,
    unit_to_pixels,
)
from recon.geometry.frames import Frame
from recon.rendering.rays import rays as torch_rays
from recon.rendering.rays import sphere_interval

K = np.array([[500.0, 3.0, 310.0], [0.0, 480.0, 250.0], [0.0, 0.0, 1.0]])


def cameras(count: int, rng: np.random.Generator) -> np.ndarray:
    """Poses that look about the origin from a few units away."""
    eye = rng.normal(size=(count, 3))
    return look_at(4 * eye / np.linalg.norm(eye, axis=1, keepdims=True), rng.uniform(-0.3, 0.3, (count, 3)), [0, 0, 1])


numbers = st.floats(-1, 1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    focal=st.tuples(st.floats(1, 5000), st.floats(1, 5000)),
    centre=st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
    skew=st.floats(-50, 50),
    quaternion=st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 1e-3),
    where=st.tuples(*[st.floats(-1000, 1000)] * 3),
    scale=st.floats(1e-6, 1e6),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_camera_to_projection_and_back(focal, centre, skew, quaternion, where, scale, sign):
    """K within 1e-7 of its largest number, rotations within 1e-8, centres within 1e-6 of their size (or of 1)."""
    k = np.array([[focal[0], skew, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_of(np.array(quaternion)), where
    found, placed = decompose(sign * scale * compose(k, pose))
    np.testing.assert_allclose(found, k, atol=1e-7 * np.abs(k).max())
    np.testing.assert_allclose(placed[:3, :3], pose[:3, :3], atol=1e-8)
    np.testing.assert_allclose(placed[:3, 3], where, atol=1e-6 * max(1, *np.abs(where)))


def test_decompose_takes_many_at_once(rng):
    poses = cameras(6, rng)
    k, found = decompose(compose(K, poses).reshape(2, 3, 3, 4))
    assert k.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(found.reshape(6, 4, 4), poses, atol=1e-9)


@pytest.mark.parametrize("matrix", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.diag([1.0, 1, 0, 1])[:3]])
def test_projection_without_a_centre_is_refused(matrix):
    with pytest.raises(DataError, match="singular"):
        decompose(matrix)


@pytest.mark.parametrize("scale", [1e-120, -1e-200, 1e120, 1e200])
def test_a_projection_may_have_any_scale(scale, rng):
    pose = cameras(1, rng)[0]
    k, found = decompose(scale * compose(K, pose))
    np.testing.assert_allclose(k, K, atol=1e-9)
    np.testing.assert_allclose(found, pose, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_points_beside_a_camera_have_no_depth_and_raise_no_alarm():
    assert project(np.array([[1.0, 2, 0]]), K, np.eye(4))[1] == 0


def test_pixels_and_depth_to_points_and_back(rng):
    poses, points = cameras(5, rng), rng.uniform(-1, 1, (40, 3))
    pixels, depth = project(points, K, poses)
    assert pixels.shape == (5, 40, 2)
    assert (depth > 0).all()
    homogeneous = np.concatenate([points, np.ones((40, 1))], axis=1) @ np.swapaxes(compose(K, poses), -1, -2)
    np.testing.assert_allclose(pixels, homogeneous[..., :2] / homogeneous[..., 2:], atol=1e-9)
    np.testing.assert_allclose(depth, homogeneous[..., 2], atol=1e-12)
    np.testing.assert_allclose(depth_of(points, poses), depth, atol=1e-12)
    np.testing.assert_allclose(unproject(pixels, depth, K, poses), np.broadcast_to(points, (5, 40, 3)), atol=1e-10)


def test_rays_meet_their_points(rng):
    poses, points = cameras(5, rng), rng.uniform(-1, 1, (40, 3))
    pixels, _ = project(points, K, poses)
    origins, directions = rays(pixels, K, poses)
    along = points - origins
    np.testing.assert_allclose(np.cross(along, directions), 0, atol=1e-9)
    assert ((along * directions).sum(axis=-1) > 0).all()
    o, d = torch_rays(torch.from_numpy(pixels), torch.from_numpy(K).expand(5, 3, 3), torch.from_numpy(poses))
    np.testing.assert_allclose(o.numpy(), origins, atol=1e-12)
    np.testing.assert_allclose(d.numpy(), directions, atol=1e-12)


def test_depth_image_to_cloud_and_back(rng):
    pose = cameras(1, rng)[0]
    k = resized(K, (480, 640), (12, 16))
    depth = rng.uniform(1, 3, (12, 16))
    depth[3, 5], depth[4, 6], depth[5, 7] = 0, np.nan, -1
    points = backproject(depth, k, pose)
    assert len(points) == 12 * 16 - 3
    pixels, z = project(points, k, pose)
    again = np.zeros((12, 16))
    column, row = np.floor(pixels).astype(int).T
    again[row, column] = z
    np.testing.assert_allclose(again, np.where(depth > 0, depth, 0), atol=1e-12)
    assert (pixel_centres(12, 16)[0, 0] == 0.5).all()
    np.testing.assert_allclose(pixels - np.floor(pixels), 0.5, atol=1e-9)


def test_resized_and_cropped_images_show_the_same(rng):
    pose, points = cameras(1, rng)[0], rng.uniform(-1, 1, (20, 3))
    pixels, _ = project(points, K, pose)
    half, _ = project(points, resized(K, (480, 640), (240, 160)), pose)
    np.testing.assert_allclose(half, pixels * [0.25, 0.5], atol=1e-9)
    cut, _ = project(points, cropped(K, 10, 20), pose)
    np.testing.assert_allclose(cut, pixels - [10, 20], atol=1e-9)
    np.testing.assert_allclose(project(points, recentred(K), pose)[0], pixels + 0.5, atol=1e-9)


def test_every_other_pixel_sees_what_it_saw():
    pixels = pixel_centres(9, 12)
    kept = pixel_centres(3, 4)
    np.testing.assert_allclose(
        rays(kept.reshape(-1, 2), strided(K, 3), np.eye(4))[1],
        rays(pixels[::3, ::3].reshape(-1, 2), K, np.eye(4))[1],
        atol=1e-12,
    )


def test_camera_looks_at_its_target():
    pose = look_at(np.array([3.0, 0, 0]), np.zeros(3), np.array([0, 0, 1.0]))
    pixels, depth = project(np.array([[0, 0, 0], [0, 0, 0.1], [0, 0.1, 0]]), K, pose)
    np.testing.assert_allclose(depth, 3)
    np.testing.assert_allclose(pixels[0], K[:2, 2])
    assert pixels[1, 1] < pixels[0, 1]  # up in the world is up in the image
    assert pixels[2, 0] > pixels[0, 0]  # seen from +x, +y lies to the right
    along = look_at(np.array([0, 0, 3.0]), np.zeros(3), np.array([0, 0, 1.0]))
    np.testing.assert_allclose(along[:3, :3].T @ along[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(along[:3, :3]) == pytest.approx(1)


def test_cameras_in_a_frame_see_the_same(rng):
    frame = Frame(2.5, rotation_of(rng.normal(size=4)), rng.normal(size=3))
    poses, points = cameras(4, rng), rng.uniform(-1, 1, (20, 3))
    pixels, depth = project(points, K, poses)
    local = into_frame(poses, frame)
    seen, nearer = project(frame.to_local(points), K, local)
    np.testing.assert_allclose(seen, pixels, atol=1e-9)
    np.testing.assert_allclose(nearer * 2.5, depth, atol=1e-12)
    np.testing.assert_allclose(out_of_frame(local, frame), poses, atol=1e-12)
    # The way of IDR's files: P = world_mat @ scale_mat, decomposed.
    k, pose = decompose(compose(K, poses) @ matrix_of(frame))
    np.testing.assert_allclose(k, np.broadcast_to(K, k.shape), atol=1e-9)
    np.testing.assert_allclose(pose, local, atol=1e-12)
    again = frame_of(matrix_of(frame))
    np.testing.assert_allclose(matrix_of(again), matrix_of(frame), atol=1e-12)


PERSPECTIVE = np.vstack([np.eye(4)[:3], [5, 0, 0, 1]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "matrix",
    [
        *(np.diag(diagonal) for diagonal in ([1.0, 2, 1, 1], [-1.0, 1, 1, 1], [1.0, 1, 1, 0], [0.0, 0, 0, 1])),
        *(np.full((4, 4), np.nan), np.diag([1e200, 1e200, 1e200, 1]), PERSPECTIVE, np.eye(4)[:3]),
    ],
)
def test_scale_matrices_that_are_none_are_refused(matrix):
    with pytest.raises(DataError, match="scale matrix"):
        frame_of(matrix)


def test_scale_matrices_are_homogeneous():
    matrix = matrix_of(Frame(3.0, translation=np.array([1.0, 2, 3])))
    for times in (0.5, -2.0):
        found = frame_of(times * matrix)
        assert found.scale == pytest.approx(3)
        np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(found.translation, [1, 2, 3])


def test_views_that_mirror_or_shear_are_refused(rng):
    good = to_pytorch3d(cameras(3, rng))
    from_pytorch3d(good)
    last = good[1].copy()
    last[:, 3] = [0.1, 0, 0, 1]
    for wrong in (np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 2, 3, 1]), np.zeros((4, 4)), last):
        with pytest.raises(DataError, match="no rotation"):
            from_pytorch3d(np.stack([good[0], wrong]))


def test_opengl_cameras_look_along_minus_z(rng):
    pose = cameras(3, rng)
    theirs = opengl(pose)
    np.testing.assert_allclose(theirs[:, :3, 2], -pose[:, :3, 2])
    np.testing.assert_allclose(theirs[:, :3, 1], -pose[:, :3, 1])
    np.testing.assert_allclose(opengl(theirs), pose)


def test_pytorch3d_by_its_documented_formulas(rng):
    """x_view = x R + T with +x left, +y up; NDC of a field-of-view camera: x_view / (z tan(fov / 2))."""
    pose, points, size, fov = cameras(1, rng)[0], rng.uniform(-1, 1, (30, 3)), (48, 64), 50.0
    view = to_pytorch3d(pose)
    seen = points @ view[:3, :3] + view[3, :3]
    ndc = seen[:, :2] / (seen[:, 2:] * np.tan(np.radians(fov) / 2))
    # PyTorch3D's screen: the shorter side spans [-1, 1], and +x is left, +y up.
    screen = np.array([64, 48]) / 2 - ndc * 48 / 2
    np.testing.assert_allclose(project(points, intrinsics_of_fov(fov, size), pose)[0], screen, atol=1e-9)
    np.testing.assert_allclose(from_pytorch3d(view), pose, atol=1e-12)
    scaled = view.copy()
    scaled[:, :3] *= 3
    np.testing.assert_allclose(from_pytorch3d(scaled), pose, atol=1e-12)


def test_pytorch3d_looks_from_where_its_matrix_says():
    """R = identity, T = (0, 0, 3): a camera at z = -3 that looks along +z and has the world's +x on its left."""
    view = np.eye(4)
    view[3, :3] = [0, 0, 3]
    pose = from_pytorch3d(view)
    np.testing.assert_allclose(pose[:3, 3], [0, 0, -3])
    pixels, depth = project(np.array([[0.5, 0, 0], [0, 0.5, 0]]), intrinsics_of_fov(60, (100, 100)), pose)
    assert depth[0] == pytest.approx(3)
    assert pixels[0, 0] < 50
    assert pixels[1, 1] < 50
    with pytest.raises(DataError):
        from_pytorch3d(np.zeros((4, 4)))


def test_ndc_and_back():
    k = K.copy()
    k[0, 1] = 0
    for size in ((480, 640), (640, 480)):
        focal, principal = ndc_of_intrinsics(k, size)
        np.testing.assert_allclose(intrinsics_of_ndc(focal, principal, size), k, atol=1e-10)


def test_unit_image_coordinates():
    corners = np.array([[-1, -1, 1], [1, 1, 1], [0, 0, 1]]) @ unit_to_pixels((48, 64)).T
    np.testing.assert_allclose(corners[:, :2], [[0, 0], [64, 48], [32, 24]])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 1e-6))
def test_quaternion_to_rotation_and_back(q):
    q = np.array(q) / np.linalg.norm(q)
    rotation = rotation_of(q)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    again = quaternion_of(rotation)
    assert min(np.abs(again - q).max(), np.abs(again + q).max()) < 1e-12
    np.testing.assert_allclose(rotation_of(again), rotation, atol=1e-12)


def test_quaternion_turns_as_it_should():
    half = np.radians(90) / 2
    turn = rotation_of(np.array([np.cos(half), 0, 0, np.sin(half)]))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_inverse_of_rigid_maps(rng):
    poses = cameras(4, rng)
    np.testing.assert_allclose(invert(poses) @ poses, np.broadcast_to(np.eye(4), (4, 4, 4)), atol=1e-12)


def test_sphere_interval():
    origins = torch.tensor([[0.0, 0, -3], [0, 0, 0], [0, 2, -3], [0, 0, 3]])
    near, far, hit = sphere_interval(origins, torch.tensor([0.0, 0, 1]).expand(4, 3))
    assert hit.tolist() == [True, True, False, True]
    # From outside, from inside, past it, and behind the ray.
    assert near.tolist() == [2, 0, 0, 0]
    assert far.tolist() == [4, 1, 0, 0]
