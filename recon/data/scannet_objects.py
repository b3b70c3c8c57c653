"""O2-Recon's published trees: views of one object of a ScanNet scene, in-painted, in NeuRIS' layout.

``<scene>_scannet_obj_<id>_inpainted/`` holds ``image/ mask/ scale_depth/ pred_normal/``, ``cameras_sphere.npz``
(``world_mat_i`` and ``scale_mat_i``: normalised coordinates to pixels, whose centres are at integers),
``trans_n2w.txt`` (normalised coordinates to metres) and ``semantic.txt``. Here all is in metres, and the region is the
normalised sphere.

The released preparation crops colour images (1296 x 968 by 24 and 16 pixels a side) before it resizes them to
640 x 480, but neither depth nor what normals were predicted from, so that these are off by up to 12 pixels at the
border. ``fix_crop`` looks them up where they belong; leave it off for trees that were made right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from recon.data.scannet_truth import object_mesh, scan_mesh
from recon.errors import DataError
from recon.geometry.cameras import decompose, frame_of, out_of_frame, recentred
from recon.geometry.frames import Frame
from recon.geometry.rgbd import thin
from recon.io.images import read_gray, read_image
from recon.io.meshes import read_geometry
from recon.io.npz import Npz
from recon.io.scannet import numbered, read_matrix
from recon.io.types import Cloud, Mesh
from recon.observations import PosedRGBD, Scene, Truth

CAMERAS, TO_WORLD = "cameras_sphere.npz", "trans_n2w.txt"
PHOTOS = (".png", ".jpg", ".jpeg")
CLOUD = "point_cloud_scan.ply"
INVALID = -2.99  # normals whose components sum to less are (-1, -1, -1): not predicted
FULL, BORDER = (968, 1296), (16, 24)  # size of ScanNet's colour images, and what is cropped on each side
AGAIN = "Download or make this tree again."


def is_object(folder: Path) -> bool:
    """Whether a folder holds a published object."""
    return (folder / CAMERAS).is_file() and (folder / TO_WORLD).is_file()


def load_object(folder: Path, name: str, fix_crop: bool = False, scans: Path | None = None) -> Scene:
    """All views of an object, in metres; its truth are the annotated faces of the scan, if that is at hand.

    Args:
        folder: of the object.
        name: of the object.
        fix_crop: look depth and normals up where the colour images' crop has put them.
        scans: folder of ScanNet's scenes, of meshes and annotations, each in a folder of its name.

    Raises:
        DataError: naming file and field, if something is missing or damaged.
    """
    images = numbered(folder / "image", PHOTOS)
    if not images:
        raise DataError(f"'{folder / 'image'}': there are no images.", AGAIN)
    intrinsics, poses, region = _cameras(folder, list(images))
    rgb = _images(images)
    size, stems = rgb.shape[1:3], [file.stem for file in images.values()]
    look_up = _uncropped(size) if fix_crop else lambda image: image
    depth = np.stack([look_up(_counts(folder / "scale_depth" / f"{stem}.png", size)) for stem in stems])
    normal = np.stack(
        [
            look_up(_normal(folder / "pred_normal" / f"{stem}.npz", size)) @ pose[:3, :3].T
            for stem, pose in zip(stems, poses, strict=True)
        ]
    )
    views = PosedRGBD(
        images=torch.from_numpy(rgb).permute(0, 3, 1, 2).contiguous(),
        mask=torch.from_numpy(_masks(folder / "mask", stems, size))[:, None],
        name=name,
        view_names=tuple(stems),
        intrinsics=torch.from_numpy(intrinsics),
        poses=torch.from_numpy(poses),
        depth=torch.from_numpy(depth.astype(np.float32) * np.float32(region.scale / 1000))[:, None],
        # The predictor's axes are x left, y up, z to the viewer: the camera's, negated.
        normal=-torch.from_numpy(normal.astype(np.float32)).permute(0, 3, 1, 2).contiguous(),
        region=region,
        sparse=_sparse(folder, region, poses[:, :3, 3]),
    )
    return Scene(views.validated(), _truth(folder, scans), category=_category(folder))


def _cameras(folder: Path, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray, Frame]:
    """(V, 3, 3) K, (V, 4, 4) poses in metres, and the frame of the normalised sphere.

    The camera of an image is that of its number, so that images may be taken out of a tree.
    """
    file = Npz(folder / CAMERAS)
    world, scale = (np.stack([_matrix(file, f"{kind}_mat_{i}") for i in numbers]) for kind in ("world", "scale"))
    try:
        region = frame_of(read_matrix(folder / TO_WORLD)).then(frame_of(scale[0]))
        intrinsics, poses = decompose(world @ scale)
    except DataError as error:
        raise DataError(f"'{folder}': {CAMERAS} or {TO_WORLD}: {error.what}", AGAIN) from error
    return recentred(intrinsics), out_of_frame(poses, region), region


def _matrix(file: Npz, name: str) -> np.ndarray:
    value = file.array(name)
    if value.shape != (4, 4) or value.dtype.kind != "f":
        raise DataError(f"'{file.path}': field '{name}': {value.dtype} of shape {value.shape}, not (4, 4).", AGAIN)
    return value.astype(np.float64)


def _images(files: dict[int, Path]) -> np.ndarray:
    """(V, H, W, 3) uint8."""
    images = [read_image(file, turn=False)[0] for file in files.values()]
    for file, image in zip(files.values(), images, strict=True):
        if image.shape != images[0].shape:
            raise DataError(f"'{file}': it is of size {image.shape[:2]}, the first of {images[0].shape[:2]}.", AGAIN)
    return np.stack(images)


def _counts(file: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint16 thousandths of the normalised unit."""
    values = read_gray(file)
    if values.shape != size or values.dtype != np.uint16:
        raise DataError(f"'{file}': {values.dtype} of size {values.shape}, not 16 bit of size {size}.", AGAIN)
    return values


def _masks(folder: Path, stems: list[str], size: tuple[int, int]) -> np.ndarray:
    """(V, H, W) uint8; without a folder of masks all pixels belong to the object."""
    if not folder.is_dir():
        return np.full((len(stems), *size), 255, dtype=np.uint8)
    masks = [read_gray(folder / f"{stem}.png") for stem in stems]
    for stem, mask in zip(stems, masks, strict=True):
        if mask.shape != size or mask.dtype != np.uint8:
            raise DataError(f"'{folder / stem}.png': {mask.dtype} of size {mask.shape}, images are {size}.", AGAIN)
    return np.stack(masks)


def _normal(file: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float64 unit normals in the predictor's axes, 0 where none was predicted."""
    values = Npz(file).array("arr_0")
    if values.shape != (*size, 3) or values.dtype.kind != "f":
        raise DataError(f"'{file}': field 'arr_0': {values.dtype} of shape {values.shape}, not {(*size, 3)}.", AGAIN)
    values = values.astype(np.float64)
    length = np.linalg.norm(values, axis=2, keepdims=True)
    known = (values.sum(axis=2, keepdims=True) > INVALID) & (length > 0) & np.isfinite(length)
    return np.where(known, values / np.where(known, length, 1), 0)


def _uncropped(size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """What looks an image of the whole frame up at the pixels of the crop, both resized to `size`."""
    index = []
    for pixels, whole, border in zip(size, FULL, BORDER, strict=True):
        place = (np.arange(pixels) + 0.5) * (whole - 2 * border) / pixels + border
        index.append(np.floor(place * pixels / whole).astype(int))
    return lambda image: image[index[0][:, None], index[1]]


def _sparse(folder: Path, region: Frame, cameras: np.ndarray) -> torch.Tensor | None:
    """The fused cloud that came with the views, thinned to a hundredth of the region.

    In the published clouds, pixels without depth lie at the cameras (V, 3): nothing is known there.
    """
    if not (folder / CLOUD).is_file():
        return None
    found = read_geometry(folder / CLOUD, "drop")
    points = found.vertices if isinstance(found, Mesh) else found.points
    cell = region.scale / 100
    measured = cKDTree(cameras).query(points, distance_upper_bound=cell)[0] == np.inf
    return torch.from_numpy(thin(Cloud(points[measured]), cell).points)


def _category(folder: Path) -> str:
    file = folder / "semantic.txt"
    try:
        return file.read_bytes().decode("utf-8", "replace").strip().split("\n")[0][:100] if file.is_file() else ""
    except OSError as error:
        raise DataError(f"'{file}': {error.strerror}.", AGAIN) from error


def _truth(folder: Path, scans: Path | None) -> Truth | None:
    named = re.fullmatch(r"(?P<scene>.+?)(?P<suffix>_scannet)?_obj_(?P<number>\d{1,9})(_.*)?", folder.name)
    if scans is None or named is None:
        return None
    scene = scans / named["scene"]
    scene = scene if scene.is_dir() else scans / f"{named['scene']}_scannet"
    if scan_mesh(scene) is None:
        raise DataError(f"'{scene}': it holds no scan.", "Give the folder of ScanNet's scenes as data.scans, or null.")
    return Truth(object_mesh(scene, int(named["number"]) - 1))
