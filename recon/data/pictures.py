"""Photographs on their way to a tensor: one view's pixels with their mask, depth and K, kept together when resized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recon.errors import DataError
from recon.geometry.cameras import resized
from recon.io.arrays import read_array
from recon.io.captures import Capture, Shot
from recon.io.images import read_gray, read_image
from recon.io.rgbd import decode_sun

ASPECT = 0.01  # by which images of one shape may differ


@dataclass(frozen=True)
class Picture:
    """One view: `rgb` (3, H, W) uint8, `intrinsics` (3, 3), `mask` (1, H, W) uint8, `depth` (1, H, W) float32 z."""

    rgb: Tensor
    intrinsics: np.ndarray
    mask: Tensor | None = None
    depth: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.rgb.shape[1]), int(self.rgb.shape[2])

    def resized(self, size: tuple[int, int]) -> Picture:
        """The same view at another (height, width): colours averaged, depth of the nearest pixel."""
        return Picture(
            at_size(self.rgb, size, "area"),
            resized(self.intrinsics, self.size, size),
            None if self.mask is None else at_size(self.mask, size, "area"),
            None if self.depth is None else at_size(self.depth, size, "nearest"),
        )

    def shrunk(self, factor: float) -> Picture:
        """The same view, smaller by a factor of at least 1."""
        height, width = self.size
        return self if factor == 1 else self.resized((max(1, round(height / factor)), max(1, round(width / factor))))

    def padded(self, size: tuple[int, int]) -> Picture:
        """The same view with black pixels of mask 0 added to the right and below."""
        rows, columns = size[0] - self.size[0], size[1] - self.size[1]
        mask = torch.full((1, *self.size), 255, dtype=torch.uint8) if self.mask is None else self.mask
        rgb, mask = (functional.pad(image, (0, columns, 0, rows)) for image in (self.rgb, mask))
        depth = None if self.depth is None else functional.pad(self.depth, (0, columns, 0, rows))
        return Picture(rgb, self.intrinsics, mask, depth)


def read_picture(shot: Shot, capture: Capture, colors: bool = True) -> Picture:
    """A shot, decoded. Where its format has depth measured by the camera, colour is brought to the size of the depth.

    Args:
        shot: one of the capture's.
        capture: tells how depth is stored.
        colors: False leaves colour black, where only depth is wanted.

    Raises:
        DataError: if a file is missing or damaged, or the image is not of its camera's shape.
    """
    depth = None if shot.depth is None else _depth(shot.depth, capture)
    if not colors and depth is not None:
        rgb, alpha = np.zeros((*depth.shape[1:], 3), dtype=np.uint8), None
    else:
        # Cameras were calibrated on the pixels as stored.
        rgb, alpha = read_image(shot.image, turn=False)
    image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    if capture.depth_first and depth is not None:
        image = at_size(image, _size(depth), "area")
    size = _size(image)
    k = shot.intrinsics
    if shot.size is not None and (declared := shot.size[::-1]) != size:
        if not _same_aspect([declared, size]):
            raise DataError(
                f"'{shot.image}': the image has {size[1]} x {size[0]} pixels, its camera is for "
                f"{shot.size[0]} x {shot.size[1]}.",
                "Give the images that were calibrated, uncropped and not turned.",
            )
        k = resized(k, declared, size)
    mask = None
    if shot.mask is not None:
        mask = at_size(read_mask(shot.mask), size, "nearest")
    elif alpha is not None and (alpha < 255).any():
        mask = at_size(torch.from_numpy(alpha)[None], size, "area")
    return Picture(image, k, mask, None if depth is None else at_size(depth, size, "nearest"))


def read_mask(path: Path) -> Tensor:
    """(1, H, W) uint8 in 0..255: masks of 0 and 1 are brought to 0 and 255.

    Raises:
        DataError: naming the file.
    """
    values = read_gray(path)
    if values.max() <= 1:
        values = (values * 255).astype(np.uint8)
    return torch.from_numpy((values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8))[None]


def at_size(image: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """(C, H, W) at another (height, width): ``area`` averages (and is bilinear upwards), ``nearest`` picks."""
    if _size(image) == size:
        return image
    if how == "nearest":
        moved = functional.interpolate(image.float()[None], size, mode="nearest-exact")[0]
    elif size[0] > image.shape[1] or size[1] > image.shape[2]:
        moved = functional.interpolate(image.float()[None], size, mode="bilinear", align_corners=False)[0]
    else:
        moved = functional.interpolate(image.float()[None], size, mode="area")[0]
    return moved.round().to(image.dtype) if image.dtype == torch.uint8 else moved


def one_size(pictures: list[Picture]) -> list[Picture]:
    """Views of one size: brought to the smallest where their shapes are alike, else padded to the largest sides."""
    sizes = [picture.size for picture in pictures]
    if len(set(sizes)) == 1:
        return pictures
    if _same_aspect(sizes):
        return [picture.resized(min(sizes)) for picture in pictures]
    largest = (max(height for height, _ in sizes), max(width for _, width in sizes))
    return [picture.padded(largest) for picture in pictures]


def stacked(images: Sequence[Tensor | None], missing: int) -> Tensor | None:
    """(V, 1, H, W), or None if no view has one; views without one get `missing` everywhere."""
    some = next((image for image in images if image is not None), None)
    if some is None:
        return None
    return torch.stack([torch.full_like(some, missing) if image is None else image for image in images])


def _same_aspect(sizes: Sequence[tuple[int, int]]) -> bool:
    aspects = [width / height for height, width in sizes]
    # A pixel more or less, from rounding, is no other shape.
    slack = max(ASPECT, 1.5 / min(min(size) for size in sizes))
    return max(aspects) <= min(aspects) * (1 + slack)


def _depth(path: Path, capture: Capture) -> Tensor:
    """(1, H, W) float32 z in world units, 0 where nothing was measured."""
    values = read_array(path) if path.suffix.lower() == ".npy" else read_gray(path)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        values = values.reshape(values.shape[:-1] if values.shape[-1] == 1 else values.shape[1:])
    if values.ndim != 2 or 0 in values.shape or (values.dtype == np.uint8 and path.suffix.lower() != ".npy"):
        raise DataError(
            f"'{path}': this is no depth image ({values.dtype}, shape {values.shape}).",
            "Give 16-bit png or a 2D .npy, 0 where nothing was measured.",
        )
    values = decode_sun(values) if capture.turned_bits else values
    depth = values.astype(np.float64) * capture.depth_unit
    measured = np.isfinite(depth) & (depth > 0)
    if capture.invalid is not None:
        measured &= values != capture.invalid
    return torch.from_numpy(np.where(measured, depth, 0).astype(np.float32))[None]


def _size(image: Tensor) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[2])
