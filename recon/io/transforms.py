"""``transforms.json``: cameras of nerfstudio, instant-ngp and Blender's synthetic scenes.

Poses are camera to world with OpenGL axes (x right, y up, z backward); pixel centres are at integer + 0.5. The world is
the file's own: nerfstudio's ``applied_transform`` is not undone. instant-ngp's ``scale`` and ``offset`` say which cube
it learns (unit side, after ``scale * x + offset``): that cube is the region of interest; ``aabb_scale`` only tells how
much background it keeps, and is left alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError
from recon.io.captures import Capture, Shot, parsed, pinhole, rigid, told
from recon.io.images import IMAGES, image_size, natural
from recon.io.meshes import read_geometry
from recon.io.parsing import FormatError
from recon.io.types import Mesh

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
LENSES = ("OPENCV", "PINHOLE", "PERSPECTIVE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
NAMES = ("transforms.json", "transforms_train.json")
MANY = 1_000_000


def find_transforms(path: Path) -> Path | None:
    """The file of cameras that `path` is, or that its folder holds; of Blender's splits that of the training."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" else None
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def read_transforms(path: str | Path) -> Capture:
    """The photographs, cameras, masks and depth images that a file of cameras names.

    Args:
        path: of the file, or of the folder that holds ``transforms.json`` (or ``transforms_train.json``).

    Raises:
        DataError: if the file is missing or damaged, or a lens is not supported.
    """
    file = find_transforms(Path(path))
    if file is None:
        raise DataError(f"'{path}': there is no transforms.json.", "Give the file of cameras, or its folder.")
    document = parsed(file, parse_document)
    with told(file):
        shots = tuple(_shot(frame, document, file.parent, i) for i, frame in enumerate(document["frames"]))
        unit = _number(document, "integer_depth_scale", _number(document, "depth_unit_scale_factor", 0.001))
        return Capture(shots, _sparse(document, file.parent), _box(document), unit)


def parse_document(data: bytes) -> dict[str, Any]:
    """The file's object, which has a list ``frames`` of objects.

    Raises:
        FormatError: if it is no such thing.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is no JSON ({str(error)[:100]})") from error
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise FormatError("it holds no list 'frames' of photographs")
    if len(frames) > MANY:
        raise FormatError(f"it lists {len(frames)} frames")
    document["frames"] = sorted(frames, key=lambda frame: natural(str(frame.get("file_path", "")).replace("\\", "/")))
    return document


def _shot(frame: dict[str, Any], document: dict[str, Any], folder: Path, number: int) -> Shot:
    what = f"frames[{number}]"
    try:
        matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{what}: field 'transform_matrix': {str(error)[:80]}") from error
    if matrix.ndim != 2:
        raise FormatError(f"{what}: field 'transform_matrix' is missing or no matrix")
    image = _file(frame, "file_path", folder, what)
    if image is None:
        raise FormatError(f"{what}: field 'file_path' is missing")
    values = {**document, **frame}  # a frame's own numbers come before those of all
    size = _size(values)
    intrinsics = _intrinsics(values, size, image, what)
    return Shot(
        image,
        intrinsics,
        rigid(matrix, f"{what}: field 'transform_matrix'") @ OPENGL,
        size,
        _distortion(values, what),
        _file(frame, "mask_path", folder, what),
        _file(frame, "depth_file_path", folder, what),
    )


def _size(values: dict[str, Any]) -> tuple[int, int] | None:
    width, height = _number(values, "w", 0.0), _number(values, "h", 0.0)
    if not (0 <= width <= 100_000 and 0 <= height <= 100_000):
        raise FormatError(f"fields 'w', 'h': an image of {width:g} x {height:g} pixels")
    return (int(width), int(height)) if width >= 1 and height >= 1 else None


def _intrinsics(values: dict[str, Any], size: tuple[int, int] | None, image: Path, what: str) -> np.ndarray:
    """K from focal lengths, or from angles of view, which need the image's size."""
    if size is None and not ("fl_x" in values and "cx" in values and "cy" in values):
        size = image_size(image)
    width, height = size or (0, 0)
    fx = _number(values, "fl_x", 0.0) or _focal(_number(values, "camera_angle_x", 0.0), width)
    fy = _number(values, "fl_y", 0.0) or _focal(_number(values, "camera_angle_y", 0.0), height)
    if not fx and not fy:
        raise FormatError(f"{what}: neither 'fl_x' nor 'camera_angle_x' tells the focal length")
    return pinhole(fx or fy, fy or fx, _number(values, "cx", width / 2), _number(values, "cy", height / 2), what)


def _focal(angle: float, pixels: int) -> float:
    return pixels / (2 * math.tan(angle / 2)) if 0 < angle < math.pi else 0.0


def _distortion(values: dict[str, Any], what: str) -> np.ndarray:
    lens = str(values.get("camera_model", "OPENCV")).upper()
    if lens not in LENSES or values.get("is_fisheye") or values.get("ftheta_p0"):
        raise FormatError(
            f"{what}: a lens of the kind '{lens if lens not in LENSES else 'fisheye'}'; "
            "make pinhole images first, e.g. with colmap image_undistorter"
        )
    return np.array([_number(values, name, 0.0) for name in COEFFICIENTS])


def _number(values: dict[str, Any], name: str, default: float) -> float:
    found = values.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e12:
        raise FormatError(f"field '{name}': {str(found)[:40]} is not a number")
    return float(found)


def _file(frame: dict[str, Any], name: str, folder: Path, what: str) -> Path | None:
    """The file a frame names; Blender's scenes leave ``.png`` out, and some tools write paths from elsewhere."""
    found = frame.get(name)
    if found is None:
        return None
    if not isinstance(found, str) or not found or "\0" in found or len(found) > 4096:
        raise FormatError(f"{what}: field '{name}' names no file")
    path = folder / found.replace("\\", "/")
    if path.suffix.lower() not in (*IMAGES, ".npy"):
        choices = [path.with_name(path.name + suffix) for suffix in IMAGES]
        return next((choice for choice in choices if choice.is_file()), choices[0])
    return path


def _sparse(document: dict[str, Any], folder: Path) -> np.ndarray | None:
    """The points of nerfstudio's ``ply_file_path``, if the file is there."""
    name = document.get("ply_file_path")
    if not isinstance(name, str) or not name or "\0" in name or not (folder / name).is_file():
        return None
    shape = read_geometry(folder / name, "drop", normals=False)
    return shape.vertices if isinstance(shape, Mesh) else shape.points


def _box(document: dict[str, Any]) -> np.ndarray | None:
    """(2, 3) corners of instant-ngp's unit cube in the world, where the file tells scale or offset."""
    if "scale" not in document and "offset" not in document:
        return None
    scale = _number(document, "scale", 0.33)
    try:
        offset = np.array(document.get("offset", [0.5, 0.5, 0.5]), dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"field 'offset': {str(error)[:80]}") from error
    if offset.shape != (3,) or not np.isfinite(offset).all() or not 1e-9 < scale < 1e9:
        raise FormatError("fields 'scale', 'offset' are not a positive number and three numbers")
    return (np.array([np.zeros(3), np.ones(3)]) - offset) / scale
