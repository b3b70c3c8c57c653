"""Posed RGB-D views of a ScanNet recording, seen by one camera, and the cloud they fuse to.

Colour and depth come from two cameras at one place. Images are brought to one of them, or to a size of its own with
the depth camera's view: colour is resampled smoothly; depth and labels are looked up at the pixel that sees along the
same line, for depths of two surfaces have no mean.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from recon.data.scannet_recording import Recording, open_recording
from recon.errors import DataError
from recon.geometry.cameras import directions_of, pixel_centres, resized, strided
from recon.geometry.frames import Frame
from recon.geometry.region import from_points
from recon.geometry.rgbd import frame_cloud, fuse
from recon.io.images import read_gray
from recon.io.scannet import numbered, rigid
from recon.io.types import Cloud
from recon.observations import PosedRGBD, as_float

log = logging.getLogger("recon")

ROOM_FRAMES, ROOM_STEP, ROOM_VOXEL = 48, 4, 0.05
LABELS = {"instance": "instance-filt", "semantic": "label-filt"}
Labels = Literal["instance", "semantic"] | None
Size = Literal["depth", "color"] | tuple[int, int]


@dataclass(frozen=True)
class Choice:
    """Which frames are taken, and how.

    Args:
        every: take one frame in so many.
        max_frames: of those, at most so many, spread evenly; None takes all.
        size: pixel grid of all images: that of ``depth``, of ``color``, or (height, width) of depth's view.
        labels: which label images are read, where there are some: instance, semantic, or None.
        threads: that decode.
    """

    every: int = 1
    max_frames: int | None = None
    size: Size = "depth"
    labels: Labels = "instance"
    threads: int = 1


def read_views(folder: Path, name: str, choice: Choice) -> tuple[PosedRGBD, list[int]]:
    """A scene's frames in world coordinates, metres; its region is not set.

    Args:
        folder: of the scene.
        name: of the scene.
        choice: which frames.

    Returns:
        The views, and the numbers of frames that were left out because their pose is not known.

    Raises:
        DataError: if files are missing or damaged, or no frame has a pose.
    """
    recording = open_recording(folder)
    poses, valid = rigid(recording.poses)
    rows = np.arange(0, len(recording.numbers), choice.every)
    dropped = [recording.numbers[row] for row in rows[~valid[rows]]]
    rows = rows[valid[rows]]
    if not len(rows):
        raise DataError(f"'{folder}': none of {len(dropped)} frames has a pose.", "Download or export it again.")
    if dropped:
        log.warning("'%s': %d frames have no pose and are left out; %d have one.", folder, len(dropped), len(rows))
    if choice.max_frames is not None and len(rows) > choice.max_frames:
        rows = rows[np.linspace(0, len(rows) - 1, choice.max_frames).round().astype(int)]
    numbers = [recording.numbers[row] for row in rows]
    grid = _Grid(recording, numbers[0], choice.size)
    images, depth, label = _decoded(grid, numbers, folder, choice)
    views = PosedRGBD(
        images=images,
        name=name,
        view_names=tuple(str(number) for number in numbers),
        intrinsics=torch.from_numpy(np.tile(grid.k, (len(numbers), 1, 1))),
        poses=torch.from_numpy(poses[rows]),
        depth=depth,
        label=label,
    )
    return views.validated(), dropped


def _decoded(
    grid: _Grid, numbers: Sequence[int], folder: Path, choice: Choice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """(V, 3, H, W) uint8 images, (V, 1, H, W) float32 depth, and (V, 1, H, W) int32 labels where there are some."""
    files = numbered(folder / LABELS[choice.labels], (".png",)) if choice.labels else {}
    images = torch.empty((len(numbers), 3, *grid.size), dtype=torch.uint8)
    depth = torch.empty((len(numbers), 1, *grid.size), dtype=torch.float32)
    label = torch.zeros((len(numbers), 1, *grid.size), dtype=torch.int32) if files else None

    def decode(row: int) -> None:
        color, z = grid.frame(numbers[row])
        images[row], depth[row, 0] = torch.from_numpy(color).permute(2, 0, 1), torch.from_numpy(z)
        if label is not None and numbers[row] in files:
            label[row, 0] = torch.from_numpy(grid.label(files[numbers[row]]))

    with ThreadPoolExecutor(max(1, choice.threads)) as pool:
        list(pool.map(decode, range(len(numbers))))
    return images, depth, label


class _Grid:
    """The one camera and pixel grid that all images of a recording are brought to."""

    def __init__(self, recording: Recording, first: int, size: Size) -> None:
        self.recording = recording
        color, depth = recording.color_k, recording.depth_k
        self.color_size, self.depth_size = recording.color(first).shape[:2], recording.depth(first).shape
        if size == "color":
            self.k, self.size = color, self.color_size
        else:
            self.size = self.depth_size if size == "depth" else size
            self.k = resized(depth, self.depth_size, self.size)
        self._color_box = self._box(color, self.color_size)
        self._depth_at, self._label_at = self._lookup(depth, self.depth_size), self._lookup(color, self.color_size)

    def _lookup(self, k: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) row and column of the pixels of another camera at this place that look along ours; -1: none."""
        pixels = directions_of(pixel_centres(*self.size).reshape(-1, 2), self.k) @ k.T
        # A hair aside, so that pixels which meet at their borders are rounded all to one side.
        columns, rows = np.floor(pixels[:, :2] + 1e-9).astype(int).T.reshape(2, *self.size)
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        return np.where(inside, rows, -1), np.where(inside, columns, -1)

    def _box(self, k: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(4,) left, top, right, bottom of our image in the pixels of another camera at this place.

        Raises:
            DataError: if they do not look the same way.
        """
        corners = directions_of(np.array([[0.0, 0.0], self.size[::-1]]), self.k) @ k.T
        box = corners[:, :2].ravel()
        whole = np.array([0, 0, *size[::-1]])
        if np.abs(box - whole).max() > max(size):
            raise DataError(
                f"'{self.recording.path}': by their intrinsics, colour and depth cameras do not look the same way.",
                "Check the intrinsic matrices.",
            )
        return np.where(np.abs(box - whole) < 1e-6, whole, box)

    def _resampled(self, color: np.ndarray) -> np.ndarray:
        """(H, W, 3) what our camera sees; beyond the image's border, the border."""
        (left, top, right, bottom), (height, width) = self._color_box, self.color_size
        if self.size == self.color_size and (left, top, right, bottom) == (0, 0, width, height):
            return color
        pad = max(0, int(np.ceil(max(-left, -top, right - width, bottom - height))))
        picture = Image.fromarray(np.pad(color, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
        box = (left + pad, top + pad, right + pad, bottom + pad)
        return np.asarray(picture.resize(self.size[::-1], Image.Resampling.BILINEAR, box))

    def frame(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 colour and (H, W) float32 depth of a frame."""
        color, depth = self.recording.color(number), self.recording.depth(number)
        for what, image, size in (("colour", color, self.color_size), ("depth", depth, self.depth_size)):
            if image.shape[:2] != size:
                raise DataError(
                    f"'{self.recording.path}': frame {number}: {what} is of size {image.shape[:2]}, at first {size}.",
                    "Export the recording again.",
                )
        return np.array(self._resampled(color)), np.where(self._depth_at[0] < 0, 0, depth[self._depth_at])

    def label(self, file: Path) -> np.ndarray:
        """(H, W) int32 labels of an image of the size of colour."""
        ids = read_gray(file)
        if ids.shape != self.color_size:
            raise DataError(f"'{file}': it is {ids.shape}, colour images are {self.color_size}.", "Export it again.")
        return np.where(self._label_at[0] < 0, 0, ids[self._label_at]).astype(np.int32)


def fused_cloud(views: PosedRGBD, voxel: float, far: float, normals: bool = True) -> Cloud:
    """What all frames of posed depth images show, in world coordinates, with colours.

    Args:
        views: in world coordinates.
        voxel: side of the cubes in which points are averaged.
        far: depths beyond it are left out, for errors grow with the square of depth.
        normals: give normals.
    """
    assert views.depth is not None
    depths = views.depth[:, 0].double()
    if views.mask is not None:
        depths = depths * (as_float(views.mask)[:, 0] > 0.5)
    frames = zip(depths.numpy(), views.intrinsics.numpy(), views.poses.numpy(), views.images, strict=True)
    return fuse(
        (
            frame_cloud(np.where(depth <= far, depth, 0), k, pose, rgb.permute(1, 2, 0).numpy(), normals)
            for depth, k, pose, rgb in frames
        ),
        voxel,
    )


def room_of(views: PosedRGBD) -> Frame:
    """The sphere about the bulk of what the depth images show, from some pixels of some frames.

    Raises:
        DataError: if they show nothing.
    """
    assert views.depth is not None
    rows = np.linspace(0, len(views.images) - 1, min(ROOM_FRAMES, len(views.images))).round().astype(int)
    clouds = (
        frame_cloud(views.depth[row, 0, ::ROOM_STEP, ::ROOM_STEP].numpy(), strided(k.numpy(), ROOM_STEP), pose.numpy())
        for row, k, pose in zip(rows, views.intrinsics[rows], views.poses[rows], strict=True)
    )
    return from_points(fuse(clouds, ROOM_VOXEL).points)
