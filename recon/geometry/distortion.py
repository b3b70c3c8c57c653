"""Lens distortion: OpenCV's rational model, and images as a pinhole would have taken them.

Coefficients are (8,): k1 k2 p1 p2 k3 k4 k5 k6 (docs.opencv.org, calib3d); points are camera coordinates at z = 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recon.errors import DataError
from recon.geometry.cameras import directions_of, pixel_centres

LARGEST_ZOOM = 4.0
STRIP = 256  # rows that are undistorted at once


def distort(points: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """(..., 2) where a lens puts the undistorted points (..., 2)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        ],
        axis=-1,
    )


def sampled(intrinsics: np.ndarray, target: np.ndarray, coefficients: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(..., 2) pixels of the distorted image (its K is `intrinsics`) that a pinhole's `pixels` (K `target`) show."""
    lens = distort(directions_of(pixels, target)[..., :2], coefficients)
    x, y = lens[..., 0], lens[..., 1]
    k = intrinsics
    return np.stack([k[0, 0] * x + k[0, 1] * y + k[0, 2], k[1, 1] * y + k[1, 2]], axis=-1)


def pinhole_for(intrinsics: np.ndarray, size: tuple[int, int], coefficients: np.ndarray) -> np.ndarray:
    """K of the widest pinhole of the same centre and size whose every pixel the distorted image shows.

    Its focal lengths are those of the lens or longer, so that there are no blank borders.

    Args:
        intrinsics: (3, 3).
        size: (height, width).
        coefficients: (8,).

    Raises:
        DataError: if the coefficients fold the image over itself, or leave less than a quarter of its width.
    """
    height, width = size
    border = np.concatenate(
        [np.stack([np.linspace(0, width, 65), np.full(65, v)], axis=1) for v in (0.0, float(height))]
        + [np.stack([np.full(65, u), np.linspace(0, height, 65)], axis=1) for u in (0.0, float(width))]
    )

    def fits(zoom: float) -> bool:
        seen = sampled(intrinsics, _zoomed(intrinsics, zoom), coefficients, border)
        inside = (seen >= -0.5).all() and (seen <= np.array([width, height]) + 0.5).all()
        return bool(inside) and not _folds(_zoomed(intrinsics, zoom), coefficients, border)

    with np.errstate(all="ignore"):
        if fits(1.0):
            return _zoomed(intrinsics, 1.0)
        low, high = 1.0, LARGEST_ZOOM
        if not fits(high):
            raise DataError(
                f"The distortion {np.round(coefficients, 4).tolist()} fits no pinhole of {width} x {height} pixels.",
                "Undistort the images with the tool that calibrated them (colmap image_undistorter).",
            )
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
    return _zoomed(intrinsics, high)


def undistort(image: Tensor, intrinsics: np.ndarray, target: np.ndarray, coefficients: np.ndarray, mode: str) -> Tensor:
    """An image as the pinhole `target` would have taken it.

    Args:
        image: (C, H, W) uint8 or float.
        intrinsics: (3, 3) of the image.
        target: (3, 3) of the result, of the same size.
        coefficients: (8,).
        mode: ``bilinear``, or ``nearest`` for depth and labels.
    """
    height, width = image.shape[1:]
    pixels, source = pixel_centres(height, width), image.float()[None]
    moved = torch.empty_like(image)
    for top in range(0, height, STRIP):  # where rays go takes a hundred bytes a pixel
        seen = sampled(intrinsics, target, coefficients, pixels[top : top + STRIP])
        grid = torch.from_numpy(seen / [width / 2, height / 2] - 1).float()[None]
        strip = functional.grid_sample(source, grid, mode=mode, padding_mode="border", align_corners=False)[0]
        moved[:, top : top + STRIP] = strip.round() if image.dtype == torch.uint8 else strip
    return moved


def _zoomed(intrinsics: np.ndarray, zoom: float) -> np.ndarray:
    k = np.array(intrinsics, dtype=np.float64)
    k[:2, :2] *= zoom
    return k


def _folds(target: np.ndarray, coefficients: np.ndarray, border: np.ndarray) -> bool:
    """Whether, on the way from the centre to the border, the lens turns back."""
    outer = directions_of(border, target)[..., :2]
    steps = np.linspace(0, 1, 33)[:, None, None] * outer
    radius = np.linalg.norm(distort(steps, coefficients), axis=-1)
    return not bool((np.diff(radius, axis=0) > 0).all())
