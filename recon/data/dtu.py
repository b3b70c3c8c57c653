"""Masked multi-view scans: DTU's as IDR, DVR, NeuS and Iso-Points use them, and synthetic ones of the same layouts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, Unpack

import numpy as np
import torch
from torch import Tensor

from recon.data.base import ReconDataModule, Shared, folder
from recon.data.dtu_layouts import Layout, Scan, is_scan, read_layout
from recon.data.dtu_truth import cloud_of, truth_of
from recon.data.loading import Draw, Split
from recon.data.pictures import Picture, read_mask, stacked
from recon.errors import ConfigError, DataError
from recon.geometry.frames import Frame
from recon.geometry.region import from_masks
from recon.geometry.visual_hull import filtered_by_masks, inside_of
from recon.io.images import image_size, natural, read_image
from recon.io.meshes import read_geometry
from recon.io.types import Cloud, Mesh
from recon.observations import Observation, OrientedPoints, Points, PosedViews, Scene, Views

T = TypeVar("T")

log = logging.getLogger("recon")

THREADS = 8
FULL_WIDTH = 1600  # of DTU's images, for which the dilation of masks is meant


class DTU(ReconDataModule):
    """Scans with photographs, masks and cameras, in the layout of IDR (and NeuS), of DVR, or of Iso-Points.

    Each gives its posed views; where a stereo cloud of it is at hand, that also, cleaned by the masks. World
    coordinates are the files' own (DTU: millimetres); the region of interest is that of ``scale_mat``, else the one
    that the masks have in common.

    Args:
        path: folder of scans, or one scan's folder.
        layout: ``idr``, ``dvr`` or ``mvr``; null: each scan's own files tell.
        cameras: camera file, without its suffix: ``cameras``, ``cameras_sphere`` (NeuS) or ``cameras_linear_init``
            (noisy, to be refined).
        masks: use the masks where there are any.
        downscale: shrink images by this whole number, averaging.
        clouds: folder of stereo clouds, ``scan65.ply`` or ``furu065_l3.ply``; null: ``furu`` beside the scans.
        dilate: clouds are cut by masks widened by this many pixels of an image 1600 wide; null: they are not cut.
        truth: folder of DTU's ``Points/stl`` and ``ObsMask``; null: a scan's own mesh, if it has one.
        shared: see `ReconDataModule`.
    """

    may_give = (PosedViews, OrientedPoints, Points, Views)

    def __init__(
        self,
        path: str = "data/dtu",
        layout: Layout | None = None,
        cameras: str = "cameras",
        masks: bool = True,
        downscale: int = 1,
        clouds: str | None = None,
        dilate: float | None = 12,
        truth: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if layout not in (None, "idr", "dvr", "mvr"):
            raise ConfigError(f"data.layout={layout}: there is no such layout.", "Known: idr, dvr, mvr, null.")
        if not isinstance(downscale, int) or downscale < 1:
            raise ConfigError(f"data.downscale={downscale}: it is no whole number above 0.", "Give 1, 2, 4, ...")
        self.path, self.layout, self.cameras = Path(path).expanduser(), layout, cameras
        if dilate is not None and dilate < 0:
            raise ConfigError(f"data.dilate={dilate}: it is negative.", "Give pixels, or null to cut no clouds.")
        self.masks, self.downscale, self.dilate = masks, downscale, dilate
        self.clouds = None if clouds is None else Path(clouds).expanduser()
        self.truth = None if truth is None else Path(truth).expanduser()
        self._latest: tuple[tuple[str, bool], Scene] | None = None
        self._stored: tuple[Path, Cloud] | None = None

    @property
    def gives(self) -> tuple[type, ...]:
        """Posed views, and points if the first scan has a stereo cloud, with normals if that has some."""
        cloud = self._whole_cloud(self.selected()[0])
        if cloud is None:
            return PosedViews, Views
        return self.may_give if cloud.normals is not None else (PosedViews, Points, Views)

    def names(self, split: Split = "test") -> Sequence[str]:
        """Every scan is in every split: methods fit one scan at a time."""
        return list(self._folders())

    def load(self, name: str, split: Split = "test") -> Scene:
        """One scan, in its own coordinates; the latest is kept, for a task asks for it more than once."""
        self.check_scene(name, split)
        points = self.observation is not None and issubclass(self.observation, Points)
        if self._latest is None or self._latest[0] != (name, points):
            folders = self._folders()
            scan = read_layout(folders[name], self.layout, self.cameras)
            seen: Observation = self._points(name, scan) if points else self._views(name, scan)
            truth = truth_of(folders[name], name, self.truth)
            self._latest = (name, points), Scene(seen, truth, list(folders).index(name))
        return self._latest[1]

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """All views of a scan in the frame of its region; or points, as all datasets draw them."""
        scene = self.load(name, split)
        if isinstance(scene.observation, Points):
            return super().item(name, split, draw)
        assert isinstance(scene.observation, PosedViews)
        return replace(scene, observation=scene.observation.normalized(), target=None)

    def _folders(self) -> dict[str, Path]:
        path = folder(
            self.path,
            "data=dtu",
            "Give data.path=FOLDER; `recon prepare data=dtu data.path=FOLDER` downloads IDR's 15 scans (some GB, told "
            "first), with source='*.obj' kind=idr it makes such scans of your meshes.",
        )
        if is_scan(path):
            return {path.resolve().name: path}
        found = sorted((f for f in path.iterdir() if f.is_dir() and is_scan(f)), key=lambda f: natural(f.name))
        if not found:
            raise DataError(
                f"'{path}' holds no scan.", "A scan has a folder 'image' and a file 'cameras.npz' or 'data_dict.npz'."
            )
        return {f.name: f for f in found}

    def _views(self, name: str, scan: Scan) -> PosedViews:
        pictures = _threaded(lambda row: self._picture(scan, row), len(scan.images))
        sizes = {picture.size for picture in pictures}
        if len(sizes) > 1:
            raise DataError(
                f"'{scan.images[0].parent}': its images are of {len(sizes)} sizes.", "Give images of one size."
            )
        views = PosedViews(
            images=torch.stack([picture.rgb for picture in pictures]),
            mask=stacked([picture.mask for picture in pictures], 255),
            name=name,
            view_names=tuple(image.stem for image in scan.images),
            intrinsics=torch.from_numpy(np.stack([picture.intrinsics for picture in pictures])),
            poses=torch.from_numpy(scan.poses),
            region=scan.region,
        ).validated()
        if views.region is None:
            views = replace(views, region=_region(views))
        cloud = self._cut(name, views.mask, views.intrinsics.numpy(), scan.poses)
        return views if cloud is None else replace(views, sparse=cloud.points)

    def _picture(self, scan: Scan, row: int) -> Picture:
        rgb, alpha = read_image(scan.images[row], turn=False)
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        mask = None
        if self.masks and scan.masks:
            mask = _mask(scan, row, rgb.shape[:2])
        elif self.masks and alpha is not None:
            mask = torch.from_numpy(alpha)[None]
        return _shrunk(Picture(image, scan.intrinsics[row], mask), self.downscale)

    def _points(self, name: str, scan: Scan) -> Points:
        masks = None
        if self.masks and self.dilate is not None and scan.masks:
            size = image_size(scan.images[0])[::-1]
            masks = torch.stack(_threaded(lambda row: _mask(scan, row, size), len(scan.masks)))
        points = self._cut(name, masks, scan.intrinsics, scan.poses)
        if points is None or not isinstance(points, self.observation or Points):
            raise DataError(
                f"'{self._folders()[name]}': there is no stereo cloud of this scan{' with normals' if points else ''}.",
                f"Give data.clouds=FOLDER with {name}.ply, or use a method that takes posed views.",
            )
        return points

    def _cut(self, name: str, masks: Tensor | None, intrinsics: np.ndarray, poses: np.ndarray) -> Points | None:
        """The stereo cloud of a scan, as far as its (V, 1, H, W) masks keep it; None if there is no cloud."""
        cloud = self._whole_cloud(name)
        if cloud is not None and masks is not None and self.dilate is not None:
            wide = self.dilate * masks.shape[3] / FULL_WIDTH
            kept = filtered_by_masks(cloud.points, masks[:, 0].numpy(), intrinsics, poses, wide)
            cloud = Cloud(cloud.points[kept], None if cloud.normals is None else cloud.normals[kept])
        return None if cloud is None else Points.from_cloud(cloud, name)

    def _whole_cloud(self, name: str) -> Cloud | None:
        """The stereo cloud as stored; the latest is kept, for what a scan gives is asked before it is loaded."""
        file = cloud_of(name, self._folders()[name], self.clouds)
        if file is None:
            return None
        if self._stored is None or self._stored[0] != file:
            shape = read_geometry(file)
            self._stored = file, Cloud(shape.vertices, shape.normals) if isinstance(shape, Mesh) else shape
        return self._stored[1]


def _mask(scan: Scan, row: int, size: tuple[int, ...]) -> Tensor:
    """(1, H, W) uint8, more than half of 255 inside.

    Raises:
        DataError: if it is not of this size.
    """
    mask = read_mask(scan.masks[row])
    if tuple(mask.shape[1:]) != size:
        raise DataError(
            f"'{scan.masks[row]}': the mask has {mask.shape[2]} x {mask.shape[1]} pixels, "
            f"its image {size[1]} x {size[0]}.",
            "Give masks of the size of their images.",
        )
    return torch.where(mask > 0, 255, 0).to(torch.uint8) if scan.any_grey else mask


def _region(views: PosedViews) -> Frame | None:
    """What the masks have in common; None, which is told, where they do not say."""
    if views.mask is None:
        return None
    try:
        return from_masks(inside_of(views.mask[:, 0].numpy()), views.intrinsics.numpy(), views.poses.numpy())
    except DataError as error:
        log.warning("%s: %s Its files have no scale_mat, either.", views.name, error.what)
        return None


def _shrunk(picture: Picture, factor: int) -> Picture:
    """Smaller by a whole factor, each pixel the mean of its block; a rest at the right and below is cut off."""
    height, width = (side // factor for side in picture.size)
    if not height or not width:
        raise ConfigError(f"data.downscale={factor}: nothing is left of {picture.size} pixels.", "Give a smaller one.")
    rgb, mask = (
        None if image is None else image[:, : height * factor, : width * factor]
        for image in (picture.rgb, picture.mask)
    )
    assert rgb is not None
    return Picture(rgb, picture.intrinsics, mask).resized((height, width))


def _threaded(function: Callable[[int], T], count: int) -> list[T]:
    """Of 0 to `count`; decoding leaves Python's lock alone, so that threads read images in parallel."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, range(count)))
