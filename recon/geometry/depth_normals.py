"""Normals of a depth image: in each small window the plane that fits best."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

RESIDUAL = 0.01  # a window whose depths leave their plane by more than this share (rms) crosses an edge
SHARE = 0.6  # of a window's pixels that must have been measured


def depth_normals(depth: np.ndarray, K: np.ndarray, reach: int = 3) -> np.ndarray:
    """Unit normals in camera axes, towards the camera.

    The inverse depth of a plane is linear in the pixel, so that a plane is fitted by linear least squares, from sums
    over windows, for all pixels at once.

    Args:
        depth: (H, W) z, 0 or not finite where nothing was measured.
        K: (3, 3) in pixels, centres at integer + 0.5.
        reach: windows are of ``2 * reach + 1`` pixels squared.

    Returns:
        (H, W, 3) float64; 0 where nothing was measured, at edges between surfaces, and where too few neighbours are
        known.
    """
    depth = np.asarray(depth, dtype=np.float64)
    known = (depth > 0) & np.isfinite(depth)
    weight = known.astype(np.float64)
    inverse = np.where(known, 1 / np.where(known, depth, 1), 0)
    gradient, offset, residual = _planes(weight, inverse, reach)
    fits = known & (residual <= (RESIDUAL * np.maximum(inverse, 1e-30)) ** 2)
    # 1 / z = n.(K^-1 p) / d, so that n is along K^T (gradient, value at pixel 0): away from the camera.
    rows, columns = np.indices(depth.shape) + 0.5
    at_zero = offset - gradient[0] * columns - gradient[1] * rows
    normals = -np.stack([*gradient, at_zero], axis=2) @ np.asarray(K, dtype=np.float64)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return np.where(fits[..., None] & (length > 0), normals / np.where(length > 0, length, 1), 0)


def _planes(weight: np.ndarray, value: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares planes through `value` in each window, pixels counted by `weight` (0 or 1).

    Returns:
        (2, H, W) gradient along columns and rows, (H, W) value at the centre, (H, W) mean squared residual, which is
        inf where too few pixels count or they lie on a line.
    """
    flat, ramp = np.ones(2 * reach + 1), np.arange(-reach, reach + 1.0)

    def moment(image: np.ndarray, columns: int, rows: int) -> np.ndarray:
        along = correlate1d(image, ramp**columns if columns else flat, axis=1, mode="constant")
        return np.asarray(correlate1d(along, ramp**rows if rows else flat, axis=0, mode="constant"))

    count = moment(weight, 0, 0)
    safe = np.maximum(count, 1)
    mu, mv, mw = moment(weight, 1, 0) / safe, moment(weight, 0, 1) / safe, moment(value, 0, 0) / safe
    uu, vv = moment(weight, 2, 0) / safe - mu**2, moment(weight, 0, 2) / safe - mv**2
    uv = moment(weight, 1, 1) / safe - mu * mv
    uw, vw = moment(value, 1, 0) / safe - mu * mw, moment(value, 0, 1) / safe - mv * mw
    ww = moment(value**2, 0, 0) / safe - mw**2
    determinant = uu * vv - uv**2
    usable = (count >= SHARE * len(flat) ** 2) & (determinant > 0.05)
    determinant = np.where(usable, determinant, 1)
    along, down = (uw * vv - vw * uv) / determinant, (vw * uu - uw * uv) / determinant
    residual = np.where(usable, np.maximum(ww - along * uw - down * vw, 0), np.inf)
    return np.stack([along, down]), mw - along * mu - down * mv, residual
