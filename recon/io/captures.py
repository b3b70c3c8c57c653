"""What a recording of posed photographs says before an image is decoded: cameras, poses and where the files lie.

Readers of all formats end here, so that what follows (decoding, undistortion, the region of interest) is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from recon.errors import DataError
from recon.io.parsing import FormatError

T = TypeVar("T")
LARGEST = 512 * 2**20  # bytes of text; longer lists of cameras and points are none


def _undistorted() -> np.ndarray:
    return np.zeros(8)


@dataclass(frozen=True)
class Shot:
    """One photograph and its camera.

    Attributes:
        image: file of the photograph.
        intrinsics: (3, 3) float64 K in pixels, pixel centres at integer + 0.5.
        pose: (4, 4) float64 camera to world, OpenCV axes (x right, y down, z forward), a proper rotation.
        size: (width, height) the intrinsics hold for, or None: that of the image.
        distortion: (8,) k1 k2 p1 p2 k3 k4 k5 k6 of OpenCV's rational model; zeros for a pinhole.
        mask: file of the mask, or None.
        depth: file of the depth image or .npy, or None.
    """

    image: Path
    intrinsics: np.ndarray
    pose: np.ndarray
    size: tuple[int, int] | None = None
    distortion: np.ndarray = field(default_factory=_undistorted)
    mask: Path | None = None
    depth: Path | None = None


@dataclass(frozen=True)
class Capture:
    """Photographs with cameras, as they lie on disk.

    Attributes:
        shots: in order of the recording.
        sparse: (N, 3) float64 world points that came with the cameras, or None.
        box: (2, 3) float64 corners of what is of interest, where the files say so, or None.
        depth_unit: world units a count of the depth images.
        invalid: value of depth images that means "nothing measured", besides 0, or None.
        turned_bits: depth images are in SUN3D's encoding (`recon.io.rgbd.decode_sun`).
        depth_first: views have the size of the depth images, to which colour is brought; else that of the colour ones.
    """

    shots: tuple[Shot, ...]
    sparse: np.ndarray | None = None
    box: np.ndarray | None = None
    depth_unit: float = 0.001
    invalid: int | None = None
    turned_bits: bool = False
    depth_first: bool = False

    @property
    def has_depth(self) -> bool:
        """Whether depth was measured for every shot."""
        return all(shot.depth is not None for shot in self.shots)


def parsed(path: Path, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of a file's bytes.

    Raises:
        DataError: naming the file, if it cannot be read or `parse` raises a `FormatError`.
    """
    with told(path):
        if path.stat().st_size > LARGEST * (8 if path.suffix == ".bin" else 1):
            raise FormatError("it is too large for a list of cameras or points")
        with np.errstate(all="ignore"):
            return parse(path.read_bytes())


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Make what goes wrong inside a file a `DataError` that names it."""
    try:
        yield
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check the path, or export the file again.") from error


def rigid(matrix: np.ndarray, what: str) -> np.ndarray:
    """(4, 4) float64 with the nearest proper rotation, from a (3, 4) or (4, 4) matrix of rotation and translation.

    One scale common to all axes is taken out of the rotation, for some programs export an object's scale with it.

    Raises:
        FormatError: naming `what`, if it is no rigid motion to within 2 %.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise FormatError(f"{what}: a matrix of shape {matrix.shape}, not 4 x 4")
    if not np.isfinite(matrix).all() or np.abs(matrix[:3]).max() > 1e12:
        raise FormatError(f"{what}: the matrix holds numbers that are not finite or beyond 1e12")
    if matrix.shape == (4, 4) and not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-4):
        raise FormatError(f"{what}: the matrix ends in {matrix[3].tolist()}, not in 0 0 0 1")
    left, stretch, right = np.linalg.svd(matrix[:3, :3])
    if not stretch[2] > 0 or stretch[0] > 1.02 * stretch[2]:
        raise FormatError(f"{what}: the matrix is no rotation (it stretches by {np.round(stretch, 4).tolist()})")
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        raise FormatError(f"{what}: the matrix mirrors, it is no rotation")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, matrix[:3, 3]
    return pose


def inverse(pose: np.ndarray) -> np.ndarray:
    """The inverse of a rigid (4, 4) motion."""
    turned = np.eye(4)
    turned[:3, :3] = pose[:3, :3].T
    turned[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return turned


def of_quaternion(quaternion: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    """(3, 3) rotation of a quaternion w x y z of any length.

    Raises:
        FormatError: naming `what`, if it has no direction.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    length = np.linalg.norm(q)
    if not np.isfinite(length) or length < 1e-6:
        raise FormatError(f"{what}: the quaternion {q.tolist()} is no rotation")
    w, x, y, z = q / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def pinhole(fx: float, fy: float, cx: float, cy: float, what: str) -> np.ndarray:
    """(3, 3) K.

    Raises:
        FormatError: naming `what`, if a focal length is not positive or a number not finite.
    """
    values = np.array([fx, fy, cx, cy], dtype=np.float64)
    if not (np.isfinite(values).all() and np.abs(values).max() < 1e9 and min(fx, fy) > 0):
        raise FormatError(f"{what}: focal lengths {fx}, {fy} and centre {cx}, {cy} are no camera")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
