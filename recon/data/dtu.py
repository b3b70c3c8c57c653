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
from recon.io.images import natural, read_image
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
        if downscale < 1 or downscale != int(downscale):
            raise ConfigError(f"data.downscale={downscale}: it is no whole number above 0.", "Give 1, 2, 4, ...")
        self.path, self.layout, self.cameras = Path(path).expanduser(), layout, cameras
        self.masks, self.downscale, self.dilate = masks, int(downscale), dilate
        self.clouds = None if clouds is None else Path(clouds).expanduser()
        self.truth = None if truth is None else Path(truth).expanduser()
        self._latest: tuple[tuple[str, bool], Scene] | None = None

    @property
    def gives(self) -> tuple[type, ...]:
        """Posed views, and points if the first scan has a stereo cloud."""
        cloud = self._cloud_file(self.selected()[0])
        return (PosedViews, Views) if cloud is None else self.may_give

    def names(self, split: Split = "test") -> Sequence[str]:
        """Every scan is in every split: methods fit one scan at a time."""
        return list(self._folders())

    def load(self, name: str, split: Split = "test") -> Scene:
        """One scan, in its own coordinates; the latest is kept, for a task asks for it more than once."""
        points = issubclass(self.observation or self.gives[0], Points)
        if self._latest is None or self._latest[0] != (name, points):
            place = self._folders()[name]
            scan = read_layout(place, self.layout, self.cameras)
            seen: Observation = self._cloud(name, scan) if points else self._views(name, scan)
            index = list(self._folders()).index(name)
            self._latest = (name, points), Scene(seen, truth_of(place, name, self.truth), index)
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
            "Give data.path=FOLDER; `recon prepare data=dtu path=FOLDER` downloads IDR's scans (its size is shown "
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
        if self._cloud_file(name) is not None:
            views = replace(views, sparse=self._cloud(name, scan).points)
        return views

    def _picture(self, scan: Scan, row: int) -> Picture:
        rgb, alpha = read_image(scan.images[row], turn=False)
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        mask = None
        if self.masks and (scan.masks or alpha is not None):
            mask = self._mask(scan, row) if scan.masks else torch.from_numpy(alpha)[None]
            if mask.shape[1:] != image.shape[1:]:
                raise DataError(
                    f"'{(scan.masks or scan.images)[row]}': the mask has {mask.shape[2]} x {mask.shape[1]} pixels, "
                    f"its image {image.shape[2]} x {image.shape[1]}.",
                    "Give masks of the size of their images.",
                )
        return _shrunk(Picture(image, scan.intrinsics[row], mask), self.downscale)

    def _mask(self, scan: Scan, row: int) -> Tensor:
        mask = read_mask(scan.masks[row])
        return torch.where(mask > 0, 255, 0).to(torch.uint8) if scan.any_grey else mask

    def _cloud_file(self, name: str) -> Path | None:
        return cloud_of(name, self._folders()[name], self.clouds)

    def _cloud(self, name: str, scan: Scan) -> Points:
        file = self._cloud_file(name)
        if file is None:
            raise DataError(
                f"'{self._folders()[name]}': there is no stereo cloud of this scan.",
                f"Give data.clouds=FOLDER with {name}.ply, or use a method that takes posed views.",
            )
        shape = read_geometry(file)
        cloud = Cloud(shape.vertices, shape.normals) if isinstance(shape, Mesh) else shape
        if self.dilate is not None and self.masks and scan.masks:
            masks = _threaded(lambda row: inside_of(self._mask(scan, row)[0].numpy()), len(scan.masks))
            wide = self.dilate * masks[0].shape[1] / FULL_WIDTH
            kept = filtered_by_masks(cloud.points, np.stack(masks), scan.intrinsics, scan.poses, wide)
            cloud = Cloud(cloud.points[kept], None if cloud.normals is None else cloud.normals[kept])
        return Points.from_cloud(cloud, name)


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
