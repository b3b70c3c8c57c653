"""Where the files of a masked multi-view scan lie, and what its cameras mean, as IDR, DVR and Iso-Points have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recon.errors import DataError
from recon.geometry.cameras import decompose, frame_of, recentred
from recon.geometry.conventions import from_pytorch3d, intrinsics_of_fov, intrinsics_of_ndc, unit_to_pixels
from recon.geometry.frames import Frame
from recon.io.cameras import CameraMatrices, DataDict, read_camera_npz, read_data_dict
from recon.io.images import image_files, image_size

Layout = Literal["idr", "dvr", "mvr"]

FOLDERS = {"image": ("image", "images", "rgb"), "mask": ("mask", "masks")}
DATA_DICT = "data_dict.npz"
UNIT_FOCAL = 10.0  # a focal length below it is no number of pixels
FOV = 60.0  # degrees, PyTorch3D's own


@dataclass(frozen=True)
class Scan:
    """The files and cameras of one scan.

    Attributes:
        images: paths, a view each.
        masks: paths, a view each; empty if there are none.
        intrinsics: (V, 3, 3) K of the images as stored, pixel centres at integer + 0.5.
        poses: (V, 4, 4) camera to world.
        region: takes the unit sphere to the one that holds the object; None if the files do not say.
        any_grey: whether every mask pixel that is not black is inside (DVR), or only the brighter half (IDR).
    """

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    intrinsics: np.ndarray
    poses: np.ndarray
    region: Frame | None
    any_grey: bool = False


def is_scan(path: Path) -> bool:
    """Whether a folder is one scan: it has images, and cameras of a known kind."""
    cameras = (path / DATA_DICT).is_file() or any(path.glob("camera*.npz"))
    return cameras and _folder(path, "image") is not None


def layout_of(path: Path, matrices: CameraMatrices | None = None) -> Layout:
    """The layout of a scan's folder; IDR's and DVR's differ in what ``world_mat`` leads to, which its numbers tell."""
    if matrices is None:
        return "mvr" if (path / DATA_DICT).is_file() else "idr"
    k, _ = decompose(matrices.world[:1])
    return "dvr" if matrices.unit is not None and k[0, 0, 0] < UNIT_FOCAL else "idr"


def read_layout(path: Path, layout: Layout | None = None, cameras: str = "cameras") -> Scan:
    """What a scan's folder holds, images and masks not yet decoded.

    Args:
        path: of the folder.
        layout: None finds out.
        cameras: name of the camera file, without suffix (not for the layout mvr).

    Raises:
        DataError: if files are missing, damaged, or do not belong to each other.
    """
    images = _images(path)
    size = image_size(images[0])[::-1]
    masks = _masks(path, images)
    if (layout or layout_of(path)) == "mvr":
        data = read_data_dict(path / DATA_DICT)
        rows = _rows(images, range(len(data.view)), path / DATA_DICT)
        intrinsics, poses = _of_pytorch3d(data, size, path / DATA_DICT)
        # Its objects are scaled into the unit ball.
        return Scan(images, masks, intrinsics[rows], poses[rows], Frame())
    file = _camera_file(path, cameras)
    matrices = read_camera_npz(file)
    matrices = matrices.of(_rows(images, matrices.numbers, file))
    with _named(file, "world_mat"):
        kind = layout or layout_of(path, matrices)
        intrinsics, poses = _of_matrices(matrices, kind, size)
    with _named(file, "scale_mat"):
        region = None if matrices.scale is None else frame_of(matrices.scale[0])
    return Scan(images, masks, intrinsics, poses, region, kind == "dvr")


def _camera_file(path: Path, name: str) -> Path:
    file = path / f"{name.removesuffix('.npz')}.npz"
    if not file.is_file():
        others = " or ".join(f"data.cameras={f.stem}" for f in sorted(path.glob("camera*.npz")))
        raise DataError(f"'{file}': this camera file is not there.", f"Give {others or 'a folder that has one'}.")
    return file


def _of_matrices(matrices: CameraMatrices, layout: Layout, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    projection = matrices.world[:, :3]
    if layout == "dvr":
        if matrices.unit is None:
            raise DataError("There is no 'camera_mat_0'.", "Is this data.layout=idr?")
        projection = unit_to_pixels(size) @ matrices.unit[:, :3, :3] @ projection
    k, poses = decompose(projection)
    return recentred(k), poses


def _of_pytorch3d(data: DataDict, size: tuple[int, int], file: Path) -> tuple[np.ndarray, np.ndarray]:
    def option(name: str, default: Any, width: int) -> np.ndarray:
        """(V, width) of one value for all views, or one each."""
        values = np.asarray(data.options.get(name, default), dtype=np.float64)
        return np.broadcast_to(values.reshape(-1, width) if values.size % width == 0 else values, (count, width))

    count = len(data.view)
    try:
        if data.kind == "FoVPerspectiveCameras":
            fov = option("fov", FOV, 1)[:, 0]
            fov = fov if data.options.get("degrees", True) else np.degrees(fov)
            aspect = option("aspect_ratio", 1.0, 1)[:, 0]
            with np.errstate(divide="ignore"):  # an angle or aspect of 0 is told below
                k = np.stack([intrinsics_of_fov(float(f), size, float(a)) for f, a in zip(fov, aspect, strict=True)])
        elif data.kind == "PerspectiveCameras":
            k = intrinsics_of_ndc(option("focal_length", (1.0, 1.0), 2), option("principal_point", (0.0, 0.0), 2), size)
        else:
            raise ValueError(f"cameras of the kind '{data.kind[:60]}' are not read")
        if not np.isfinite(k).all() or (k[:, [0, 1], [0, 1]] <= 0).any():
            raise ValueError("there is a focal length that is not positive")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"'{file}': field 'cameras_params': {error}.", "Read are (FoV)PerspectiveCameras.") from error
    with _named(file, "camera_mat"):
        return k, from_pytorch3d(data.view)


@contextmanager
def _named(file: Path, field: str) -> Iterator[None]:
    """Add file and field to what is wrong with matrices."""
    try:
        yield
    except DataError as error:
        raise DataError(f"'{file}': field '{field}': {error.what}", error.mend) from error


def _folder(path: Path, what: str) -> Path | None:
    return next((path / name for name in FOLDERS[what] if (path / name).is_dir()), None)


def _images(path: Path) -> tuple[Path, ...]:
    folder = _folder(path, "image")
    images = tuple(image_files(folder)) if folder else ()
    if not images:
        raise DataError(f"'{path}': there are no images in its folder 'image'.", "Give a scan's own folder.")
    return images


def _masks(path: Path, images: Sequence[Path]) -> tuple[Path, ...]:
    """The mask of every image, matched by number, else by order."""
    folder = _folder(path, "mask")
    masks = image_files(folder) if folder else []
    if not masks:
        return ()
    numbered = {_number(mask): mask for mask in masks}
    if all(_number(image) in numbered for image in images) and None not in numbered:
        return tuple(numbered[_number(image)] for image in images)
    if len(masks) != len(images):
        raise DataError(
            f"'{path}': there are {len(images)} images and {len(masks)} masks, of other numbers.",
            "Give one mask an image, of the same number.",
        )
    return tuple(masks)


def _rows(images: Sequence[Path], numbers: Sequence[int], file: Path) -> list[int]:
    """The camera of every image: the one of its number, else, where there are as many, in order."""
    wanted = [_number(image) for image in images]
    if all(number in numbers for number in wanted):
        return [number for number in wanted if number is not None]
    if len(numbers) != len(images):
        raise DataError(
            f"'{file}': it has {len(numbers)} cameras; there are {len(images)} images, of other numbers.",
            "Name images by the numbers of their cameras.",
        )
    return list(numbers)


def _number(path: Path) -> int | None:
    return int(path.stem) if path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 10 else None
