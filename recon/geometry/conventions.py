"""How other programs write cameras, to and from K and pose (see `recon.geometry.cameras`).

Axes of a camera:  OpenCV, COLMAP, IDR, ScanNet and `recon`: x right, y down, z forward.
                   OpenGL, Blender, NeRF, nerfstudio, ARKit:   x right, y up, z backward.
                   PyTorch3D:                                  x left, y up, z forward; row vectors, world to view.
"""

from __future__ import annotations

import numpy as np

from recon.errors import DataError
from recon.geometry.cameras import invert

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
PYTORCH3D = np.diag([-1.0, -1.0, 1.0, 1.0])


def opengl(pose: np.ndarray) -> np.ndarray:
    """(..., 4, 4) camera to world with OpenGL's (Blender's, NeRF's) axes to ours, or ours to theirs."""
    return np.asarray(np.asarray(pose, dtype=np.float64) @ OPENGL)


def from_pytorch3d(view: np.ndarray) -> np.ndarray:
    """(..., 4, 4) poses of PyTorch3D's ``world_to_view`` matrices, which act on row vectors: ``[x, 1] @ view``.

    That is ``view[:3, :3] = R`` and ``view[3, :3] = T`` of its cameras; a uniform scale in R is taken out.

    Raises:
        DataError: if a matrix is no rotation, scale and translation, to within 1 %.
    """
    view = np.array(view, dtype=np.float64)
    stretch = np.linalg.svd(view[..., :3, :3], compute_uv=False)
    scale = stretch.mean(axis=-1)[..., None, None]
    rotates = (np.ptp(stretch, axis=-1) < 0.01 * stretch[..., 0]) & (np.linalg.det(view[..., :3, :3]) > 0)
    if not (rotates & (np.abs(view[..., 3] - (0, 0, 0, 1)).max(axis=-1) < 1e-3)).all():
        raise DataError(
            "A view matrix is no rotation and translation of row vectors.", "Give PyTorch3D's world-to-view matrices."
        )
    # The view is scale * (R x + t): dividing all of it by the scale leaves what is seen as it is.
    view[..., :3] = view[..., :3] / scale
    return np.asarray(invert(np.swapaxes(view, -1, -2)) @ PYTORCH3D)


def to_pytorch3d(pose: np.ndarray) -> np.ndarray:
    """(..., 4, 4) PyTorch3D's ``world_to_view`` matrices, for row vectors, of poses."""
    return np.swapaxes(PYTORCH3D @ invert(pose), -1, -2)


def intrinsics_of_ndc(focal: np.ndarray, principal: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., 3, 3) K of PyTorch3D's cameras in NDC, whose +x is left, +y up, and whose shorter side is [-1, 1].

    Args:
        focal: (..., 2) focal lengths; of FoVPerspectiveCameras ``1 / tan(fov / 2)``.
        principal: (..., 2) principal point.
        size: (height, width).
    """
    focal, principal = np.broadcast_arrays(np.asarray(focal, np.float64), np.asarray(principal, np.float64))
    half = min(size) / 2
    k = np.zeros((*focal.shape[:-1], 3, 3))
    k[..., 0, 0], k[..., 1, 1] = focal[..., 0] * half, focal[..., 1] * half
    k[..., 0, 2], k[..., 1, 2] = size[1] / 2 - principal[..., 0] * half, size[0] / 2 - principal[..., 1] * half
    k[..., 2, 2] = 1.0
    return k


def ndc_of_intrinsics(intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch3D's focal lengths and principal points, both (..., 2) in NDC, of K: `intrinsics_of_ndc` undone."""
    k, half = np.asarray(intrinsics, dtype=np.float64), min(size) / 2
    focal = np.stack([k[..., 0, 0], k[..., 1, 1]], axis=-1) / half
    principal = np.stack([size[1] / 2 - k[..., 0, 2], size[0] / 2 - k[..., 1, 2]], axis=-1) / half
    return focal, principal


def intrinsics_of_fov(fov: float, size: tuple[int, int], aspect: float = 1.0) -> np.ndarray:
    """(3, 3) K of PyTorch3D's FoVPerspectiveCameras.

    Args:
        fov: vertical angle in degrees.
        size: (height, width).
        aspect: width by height of a pixel, PyTorch3D's ``aspect_ratio``.
    """
    focal = 1 / np.tan(np.radians(fov) / 2)
    return intrinsics_of_ndc(np.array([focal / aspect, focal]), np.zeros(2), size)


def unit_to_pixels(size: tuple[int, int]) -> np.ndarray:
    """(3, 3) from image coordinates in [-1, 1] (x right, y down), as DVR's ``camera_mat`` gives them, to pixels.

    DVR's files were made from pixels with centres at integers by ``2 u / W - 1``; that is undone, so that these, too,
    are pixels with centres at integers (see `recon.geometry.cameras.recentred`).
    """
    height, width = size
    return np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]], dtype=np.float64)


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of quaternions (..., 4), ordered w, x, y, z, of any length but zero."""
    q = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions w, x, y, z, w >= 0, of rotations (..., 3, 3).

    From the largest of the four components, so that no rotation loses digits (Shepperd, 1978).
    """
    m = np.asarray(rotation, dtype=np.float64)
    t, d = np.trace(m, axis1=-2, axis2=-1), np.diagonal(m, axis1=-2, axis2=-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    squares = [1 + t, *(1 - t + 2 * d[..., i] for i in range(3))]
    # Row i is 4 q_i q: every row is the quaternion, up to its length and sign.
    rows = [[squares[0], wx, wy, wz], [wx, squares[1], xy, xz], [wy, xy, squares[2], yz], [wz, xz, yz, squares[3]]]
    table = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    best = np.stack(squares, axis=-1).argmax(axis=-1)
    q = np.take_along_axis(table, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.asarray(q * np.where(q[..., :1] < 0, -1.0, 1.0))
