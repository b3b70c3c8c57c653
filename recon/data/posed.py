"""A recording of posed photographs becomes an observation: decoded, undistorted, masked, of one size, with a region."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.data.pictures import Picture, at_size, one_size, read_mask, read_picture, stacked
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import backproject, strided
from recon.geometry.distortion import pinhole_for, undistort
from recon.geometry.frames import Frame
from recon.geometry.region import from_box, from_cameras, from_masks, from_points
from recon.geometry.rgbd import frame_cloud, fuse
from recon.io.captures import Capture, Shot
from recon.io.colmap import find_model, read_colmap
from recon.io.middlebury import find_par, read_middlebury
from recon.io.rgbd import find_rgbd, read_rgbd
from recon.io.transforms import find_transforms, read_transforms
from recon.io.types import Cloud
from recon.observations import Points, PosedRGBD, PosedViews

log = logging.getLogger("recon")

THREADS = 8
CELLS = 250  # voxels along the radius of what RGB-D frames show: 1 cm in a room of 5 m
STRIDE = 8  # pixels between those that the region is found from


@dataclass(frozen=True)
class Choice:
    """What is taken of a recording, and how; the options of `Own` that bear the same names explain them."""

    masks: str | None = None
    downscale: float = 1.0
    every: int = 1
    max_views: int | None = None
    center: list[float] | None = None
    radius: float | None = None
    voxel: float | None = None
    max_depth: float | None = None
    depth_unit: float | None = None

    def __post_init__(self) -> None:
        for name in ("downscale", "every", "max_views", "radius", "voxel", "max_depth", "depth_unit"):
            value = getattr(self, name)
            least = 1 if name in ("downscale", "every", "max_views") else 0
            if value is not None and not (value >= least and value > 0):
                raise ConfigError(f"data.{name}={value}: it must be {'at least 1' if least else 'positive'}.")
        if (self.center is None) != (self.radius is None):
            raise ConfigError("data.center and data.radius go together.", "Give data.center=[x,y,z] data.radius=r.")
        if self.center is not None and len(self.center) != 3:
            raise ConfigError(f"data.center={self.center}: it has three coordinates.", "Give data.center=[x,y,z].")


def reader_of(path: Path) -> Callable[[Path], Capture] | None:
    """The reader of the recording that a file or folder is; None if it is none that is known."""
    if find_transforms(path) is not None:
        return read_transforms
    if not path.is_dir():
        return None
    if find_par(path) is not None:
        return read_middlebury
    if find_rgbd(path) is not None:
        return read_rgbd
    return read_colmap if find_model(path) is not None else None


def chosen(capture: Capture, choice: Choice) -> Capture:
    """Every n-th shot, and of these as many as are wanted, evenly; depth in the unit that is wanted."""
    shots = capture.shots[:: choice.every]
    if choice.max_views is not None and choice.max_views < len(shots):
        shots = tuple(shots[i] for i in np.linspace(0, len(shots) - 1, choice.max_views).round().astype(int))
    return replace(capture, shots=shots, depth_unit=choice.depth_unit or capture.depth_unit)


def read_posed(capture: Capture, name: str, choice: Choice) -> PosedViews:
    """The photographs of a recording, decoded; `PosedRGBD` if all of them have depth.

    Args:
        capture: from one of the readers.
        name: of the scene.
        choice: what is taken of it.

    Raises:
        DataError: if an image is missing or damaged, or is not of its camera's shape.
    """
    capture = chosen(capture, choice)
    pictures = one_size(list(_decoded(capture, choice)))
    views = PosedViews(
        images=torch.stack([picture.rgb for picture in pictures]),
        mask=stacked([picture.mask for picture in pictures], 255),
        name=name,
        view_names=tuple(shot.image.stem for shot in capture.shots),
        intrinsics=torch.from_numpy(np.stack([picture.intrinsics for picture in pictures])),
        poses=torch.from_numpy(np.stack([shot.pose for shot in capture.shots])),
        depth=stacked([picture.depth for picture in pictures], 0),
        sparse=None if capture.sparse is None else torch.from_numpy(capture.sparse),
    )
    views = replace(views, region=region_of(views, capture, choice))
    if capture.has_depth:
        views = PosedRGBD(**vars(views))
    return views.validated()


def read_fused(capture: Capture, name: str, choice: Choice, normals: bool = True) -> Points:
    """The cloud that all depth images of a recording make together, normals towards the cameras.

    Only what masks hold counts, where a recording has some. Frames are decoded one after another and merged in voxels,
    so that long recordings fit into memory.

    Raises:
        DataError: as `read_posed`, and if not all of them have depth.
    """
    if not capture.has_depth:
        raise DataError(f"'{name}' has photographs without depth: no points can be made of them.", "Give RGB-D frames.")
    capture = chosen(capture, choice)
    voxel = choice.voxel or _voxel(capture, choice)
    clouds = (
        frame_cloud(_masked_depth(picture), picture.intrinsics, shot.pose, normals=True)  # which drops flying points
        for shot, picture in zip(capture.shots, _decoded(capture, choice, colors=False), strict=True)
        if picture.depth is not None
    )
    cloud = fuse(_within(clouds, choice), voxel)
    log.info(
        "%s: %d frames fused to %d points, one a voxel of %.4g.", name, len(capture.shots), len(cloud.points), voxel
    )
    return Points.from_cloud(cloud if normals else Cloud(cloud.points), name)


def region_of(views: PosedViews, capture: Capture, choice: Choice) -> Frame | None:
    """The sphere of interest: by hand, as the files say, or found from masks, depth, sparse points or cameras.

    None, which is told, where none of them say enough.
    """
    if choice.center is not None and choice.radius is not None:
        return Frame(choice.radius, translation=np.array(choice.center, dtype=np.float64))
    if capture.box is not None:
        return from_box(capture.box)
    try:
        region, source = _found(views)
    except DataError as error:
        log.warning("%s: %s %s", views.name, error.what, error.mend)
        return None
    text = "%s: the region of interest was found from its %s: data.center=[%.4g,%.4g,%.4g] data.radius=%.4g"
    log.info(text, views.name, source, *region.translation, region.scale)
    return region


def _found(views: PosedViews) -> tuple[Frame, str]:
    k, poses = views.intrinsics.numpy(), views.poses.numpy()
    if views.mask is not None and 0 < float((views.mask[:, 0] > 127).float().mean()) < 0.95:
        return from_masks(views.mask[:, 0].numpy() > 127, k, poses), "masks"
    if views.depth is not None and bool((views.depth > 0).any()):
        return from_points(_sparse_depth(views.depth[:, 0].numpy(), k, poses)), "depth"
    if views.sparse is not None and len(views.sparse) >= 100:
        return from_points(views.sparse.numpy()), "sparse points"
    height, width = views.images.shape[2:]
    return from_cameras(k, poses, (height, width)), "cameras"


def _sparse_depth(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """(N, 3) the points of a few pixels of (V, H, W) depth images."""
    few, k = depth[:, ::STRIDE, ::STRIDE], strided(intrinsics, STRIDE)
    return np.concatenate([backproject(d, kk, pose) for d, kk, pose in zip(few, k, poses, strict=True)])


def _voxel(capture: Capture, choice: Choice) -> float:
    """The voxel of a fused cloud: a share of the radius of what a dozen of the frames show."""
    few = chosen(capture, replace(choice, every=1, max_views=12))
    pictures = list(_decoded(few, choice, colors=False))
    points = [
        _sparse_depth(picture.depth.numpy(), picture.intrinsics[None], shot.pose[None])
        for shot, picture in zip(few.shots, pictures, strict=True)
        if picture.depth is not None
    ]
    return from_points(np.concatenate(points)).scale / CELLS


def _masked_depth(picture: Picture) -> np.ndarray:
    """(H, W) depth, 0 beside the mask."""
    assert picture.depth is not None
    depth = picture.depth if picture.mask is None else picture.depth * (picture.mask > 127)
    return depth[0].numpy()


def _within(clouds: Iterator[Cloud], choice: Choice) -> Iterator[Cloud]:
    """Only what lies in the region that was given by hand, if one was."""
    for cloud in clouds:
        if choice.center is None or choice.radius is None:
            yield cloud
            continue
        near = np.linalg.norm(cloud.points - np.array(choice.center), axis=1) <= choice.radius
        yield Cloud(cloud.points[near], None if cloud.normals is None else cloud.normals[near])


def _decoded(capture: Capture, choice: Choice, colors: bool = True) -> Iterator[Picture]:
    """The shots' pixels, decoded by threads that stay a few shots ahead."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(capture.shots), THREADS):
            part = capture.shots[start : start + THREADS]
            yield from pool.map(lambda shot: _picture(shot, capture, choice, colors), part)


def _picture(shot: Shot, capture: Capture, choice: Choice, colors: bool) -> Picture:
    picture = read_picture(shot, capture, colors)
    if choice.masks is not None:
        mask = read_mask(_mask_of(shot, Path(choice.masks).expanduser()))
        picture = replace(picture, mask=at_size(mask, picture.size, "nearest"))
    if picture.depth is not None and choice.max_depth is not None:
        picture = replace(picture, depth=torch.where(picture.depth <= choice.max_depth, picture.depth, 0))
    return _undistorted(picture.shrunk(choice.downscale), shot)  # in this order: less to undistort


def _undistorted(picture: Picture, shot: Shot) -> Picture:
    if not shot.distortion.any():
        return picture
    lens, k = shot.distortion, picture.intrinsics
    target = pinhole_for(k, picture.size, lens)

    def straight(image: Tensor | None, mode: str) -> Tensor | None:
        return None if image is None else undistort(image, k, target, lens, mode)

    rgb = straight(picture.rgb, "bilinear")
    assert rgb is not None
    return Picture(rgb, target, straight(picture.mask, "bilinear"), straight(picture.depth, "nearest"))


def _mask_of(shot: Shot, folder: Path) -> Path:
    """The mask of an image in a folder of masks: of the same name (its suffix kept or not), subfolders kept or not."""
    inner = shot.image.parent.name
    choices = [
        folder / place / f"{stem}{suffix}"
        for place in ("", inner)
        for stem in (shot.image.stem, shot.image.name)
        for suffix in (".png", ".jpg", ".jpeg", ".bmp", ".tif")
    ]
    found = next((file for file in choices if file.is_file()), None)
    if found is None:
        raise DataError(
            f"data.masks={folder}: there is no mask of '{shot.image.name}'.", f"Name it '{shot.image.stem}.png'."
        )
    return found
