"""Pinhole cameras: projection matrices, pixels, depths, rays, and cameras in a `Frame`.

A camera is K (3, 3) and `pose` (4, 4). K maps camera coordinates to pixels, ``[u, v, 1] ~ K [x, y, z]``, with a
positive diagonal and K[2, 2] = 1; u runs right, v down, and in all that `recon` holds the centre of the first pixel is
(0.5, 0.5). `pose` maps camera coordinates to the world's: its columns are the camera's x (right), y (down) and z
(forward) axes and its centre. All is float64, and every function takes any leading axes of cameras. How other
programs write cameras is in `recon.geometry.conventions`.
"""

from __future__ import annotations

import numpy as np

from recon.errors import DataError
from recon.geometry.frames import Frame


def decompose(projection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The camera of a projection matrix of any scale and sign, skew included.

    Args:
        projection: (..., 3, 4) or, with a fourth row that is left out, (..., 4, 4), world to pixels.

    Returns:
        K (..., 3, 3), positive diagonal and K[2, 2] = 1, and pose (..., 4, 4), a proper rotation and the centre.

    Raises:
        DataError: if a matrix is not finite or has no centre (its left 3x3 part is singular).
    """
    p = np.asarray(projection, dtype=np.float64)[..., :3, :]
    left = p[..., :3]
    # A matrix's scale is free, so that singular means singular beside its own size.
    singular = np.linalg.svd(np.where(np.isfinite(left), left, 0.0), compute_uv=False)
    if not np.isfinite(p).all() or (singular[..., 2] <= 1e-12 * singular[..., 0]).any():
        raise DataError(
            "A projection matrix is singular or holds numbers that are not finite.",
            "Give matrices K [R | t] of cameras at a finite distance.",
        )
    # Brought to size one, for the determinant of tiny or huge matrices is beyond floating point.
    left = left / singular[..., :1, None]
    left = left * np.sign(np.linalg.det(left))[..., None, None]
    # RQ of A by QR: the rows of A in reverse order, transposed, are Q'R'; reversing both again makes R upper.
    q, r = np.linalg.qr(np.swapaxes(left[..., ::-1, :], -1, -2))
    k = np.swapaxes(r, -1, -2)[..., ::-1, ::-1]
    signs = np.where(np.diagonal(k, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    k = k * signs[..., None, :]
    rotation = signs[..., :, None] * np.swapaxes(q, -1, -2)[..., ::-1, :]
    pose = np.zeros((*p.shape[:-2], 4, 4))
    pose[..., :3, :3] = np.swapaxes(rotation, -1, -2)
    pose[..., :3, 3] = -np.linalg.solve(p[..., :3], p[..., 3:])[..., 0]
    pose[..., 3, 3] = 1.0
    return np.triu(k / k[..., 2:, 2:]), pose


def compose(intrinsics: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(..., 3, 4) the projection matrices K [R | t] of cameras, world to pixels: the inverse of `decompose`."""
    return np.asarray(intrinsics, dtype=np.float64) @ invert(pose)[..., :3, :]


def invert(pose: np.ndarray) -> np.ndarray:
    """(..., 4, 4) the inverses of rigid maps: camera to world becomes world to camera, and back."""
    pose = np.asarray(pose, dtype=np.float64)
    inverse = np.zeros_like(pose)
    inverse[..., :3, :3] = np.swapaxes(pose[..., :3, :3], -1, -2)
    inverse[..., :3, 3:] = -inverse[..., :3, :3] @ pose[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return inverse


def depth_of(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(..., N) the z of points (..., N, 3) in the cameras; negative behind them."""
    pose = np.asarray(pose, dtype=np.float64)
    return np.asarray(((points - pose[..., None, :3, 3]) @ pose[..., :3, 2:3])[..., 0])


def project(points: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where cameras see points.

    Args:
        points: (..., N, 3) world.
        intrinsics: (..., 3, 3) in pixels.
        pose: (..., 4, 4) camera to world.

    Returns:
        Pixels (..., N, 2), meaningful where the depth is positive, and depth z (..., N).
    """
    pose = np.asarray(pose, dtype=np.float64)
    camera = (np.asarray(points, dtype=np.float64) - pose[..., None, :3, 3]) @ pose[..., :3, :3]
    image = camera @ np.swapaxes(np.asarray(intrinsics, dtype=np.float64), -1, -2)
    depth = camera[..., 2]
    return image[..., :2] / np.where(depth == 0, 1.0, depth)[..., None], depth


def unproject(pixels: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(..., N, 3) the world points seen at pixels (..., N, 2) at depth z (..., N): the inverse of `project`."""
    pose = np.asarray(pose, dtype=np.float64)
    camera = directions_of(pixels, intrinsics) * np.asarray(depth, dtype=np.float64)[..., None]
    return camera @ np.swapaxes(pose[..., :3, :3], -1, -2) + pose[..., None, :3, 3]


def directions_of(pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., N, 3) what pixels (..., N, 2) look along, in camera coordinates at z = 1; the skew is minded."""
    k = np.asarray(intrinsics, dtype=np.float64)[..., None, :, :]
    y = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (pixels[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def pixel_centres(height: int, width: int) -> np.ndarray:
    """(H, W, 2) the (u, v) of every pixel's centre, the first at (0.5, 0.5)."""
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([u, v], axis=-1)


def backproject(depth: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The points of one depth image.

    Args:
        depth: (H, W) z; pixels without a positive, finite depth are left out.
        intrinsics: (3, 3) in pixels of this image.
        pose: (4, 4) camera to world.

    Returns:
        (N, 3) float64 world points, row after row: those of ``depth[known]``.
    """
    known = np.isfinite(depth) & (depth > 0)
    return unproject(pixel_centres(*depth.shape)[known], depth[known], intrinsics, pose)


def rays(pixels: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions, both (..., N, 3) in the world, of the rays through pixels (..., N, 2)."""
    pose = np.asarray(pose, dtype=np.float64)
    directions = directions_of(pixels, intrinsics) @ np.swapaxes(pose[..., :3, :3], -1, -2)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.broadcast_to(pose[..., None, :3, 3], directions.shape), directions


def resized(intrinsics: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """K of an image resized from `old` to `new` (height, width), borders kept on borders."""
    scale = np.diag([new[1] / old[1], new[0] / old[0], 1.0])
    return np.asarray(scale @ np.asarray(intrinsics, dtype=np.float64))


def cropped(intrinsics: np.ndarray, left: float, top: float) -> np.ndarray:
    """K of an image of which `left` columns and `top` rows were cut off; negative numbers pad."""
    k = np.array(intrinsics, dtype=np.float64)
    k[..., 0, 2] -= left
    k[..., 1, 2] -= top
    return k


def strided(intrinsics: np.ndarray, step: int) -> np.ndarray:
    """K of images of which every `step`-th pixel was kept each way, from the first one on.

    Of every block the pixel at its upper left stands for all, so that this is not `resized`.
    """
    k = np.array(intrinsics, dtype=np.float64)
    k[..., :2, :] /= step
    k[..., :2, 2] += 0.5 - 0.5 / step
    return k


def recentred(intrinsics: np.ndarray, shift: float = 0.5) -> np.ndarray:
    """K with pixel centres at integers to K with centres at integer + 0.5; ``shift=-0.5`` goes back."""
    return cropped(intrinsics, -shift, -shift)


def look_at(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(..., 4, 4) poses of cameras at `eye` that look at `target`, the image's upper side towards `up`; all (..., 3).

    Where the view runs along `up`, the world's axis farthest from it takes its place.
    """
    eye, target, up = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (eye, target, up)))
    forward = target - eye
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, up)
    steep = np.linalg.norm(right, axis=-1, keepdims=True) < 1e-8 * np.linalg.norm(up, axis=-1, keepdims=True)
    right = np.where(steep, np.cross(forward, np.eye(3)[np.abs(forward).argmin(axis=-1)]), right)
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    pose = np.zeros((*eye.shape[:-1], 4, 4))
    pose[..., :3, :] = np.stack([right, np.cross(forward, right), forward, eye], axis=-1)
    pose[..., 3, 3] = 1.0
    return pose


def into_frame(pose: np.ndarray, frame: Frame) -> np.ndarray:
    """(..., 4, 4) camera to local of cameras (..., 4, 4) to world; K stays, depths are divided by the frame's scale."""
    pose = np.array(pose, dtype=np.float64)
    pose[..., :3, :3] = frame.rotation.T @ pose[..., :3, :3]
    pose[..., :3, 3] = frame.to_local(pose[..., :3, 3])
    return pose


def out_of_frame(pose: np.ndarray, frame: Frame) -> np.ndarray:
    """(..., 4, 4) camera to world of cameras (..., 4, 4) to local: the inverse of `into_frame`."""
    pose = np.array(pose, dtype=np.float64)
    pose[..., :3, :3] = frame.rotation @ pose[..., :3, :3]
    pose[..., :3, 3] = frame.to_world(pose[..., :3, 3])
    return pose


def frame_of(matrix: np.ndarray) -> Frame:
    """The `Frame` of a (4, 4) similarity, such as the ``scale_mat`` (unit sphere to world) of IDR's files.

    Raises:
        DataError: if the matrix is no similarity that keeps handedness.
    """
    m = np.asarray(matrix, dtype=np.float64)
    size = np.abs(m).max() if m.shape == (4, 4) else np.nan
    if not (0 < size < np.inf and abs(m[3, 3]) > 1e-12 * size and np.abs(m[3, :3]).max() <= 1e-6 * abs(m[3, 3])):
        raise _no_similarity()
    # Homogeneous: all of it may be multiplied by any number, which its last one tells.
    m = m / m[3, 3]
    stretch = np.linalg.svd(m[:3, :3], compute_uv=False)
    scale = float(stretch.mean())
    rotation = m[:3, :3] / (scale or 1.0)
    if not (np.ptp(stretch) < 1e-4 * scale and np.linalg.det(rotation) > 0):
        raise _no_similarity()
    return Frame(scale, rotation, m[:3, 3])


def _no_similarity() -> DataError:
    return DataError(
        "A scale matrix is no uniform scale, rotation and translation.",
        "Give (4, 4) matrices that map the unit sphere to the region of interest.",
    )


def matrix_of(frame: Frame) -> np.ndarray:
    """(4, 4) float64: a `Frame` as the matrix that maps local to world, the inverse of `frame_of`."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = frame.scale * frame.rotation, frame.translation
    return matrix
