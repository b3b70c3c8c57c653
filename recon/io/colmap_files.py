"""The files of COLMAP models, text and binary (github.com/colmap/colmap, doc/format.rst)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon.io.captures import of_quaternion, pinhole
from recon.io.parsing import FormatError, integer, text_lines

# By COLMAP's number: name, and its parameters in order. The last five are fisheye lenses.
MODELS: tuple[tuple[str, str], ...] = (
    ("SIMPLE_PINHOLE", "f cx cy"),
    ("PINHOLE", "fx fy cx cy"),
    ("SIMPLE_RADIAL", "f cx cy k1"),
    ("RADIAL", "f cx cy k1 k2"),
    ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"),
    ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    ("FOV", "fx fy cx cy omega"),
    ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1"),
    ("RADIAL_FISHEYE", "f cx cy k1 k2"),
    ("THIN_PRISM_FISHEYE", "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1"),
    ("RAD_TAN_THIN_PRISM_FISHEYE", "fx fy cx cy k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3"),
)
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


@dataclass(frozen=True)
class Camera:
    """A lens: its model's name, image size in pixels, and parameters by name."""

    model: str
    width: int
    height: int
    values: dict[str, float]

    def intrinsics(self, what: str) -> np.ndarray:
        """(3, 3) K; see `pinhole` for what it raises."""
        v = self.values
        return pinhole(v.get("fx", v.get("f", 0.0)), v.get("fy", v.get("f", 0.0)), v["cx"], v["cy"], what)

    def distortion(self, what: str) -> np.ndarray:
        """(8,) OpenCV's coefficients, as `Shot.distortion`.

        Raises:
            FormatError: for lenses whose pictures no pinhole can hold.
        """
        if "FISHEYE" in self.model or self.model == "FOV":
            raise FormatError(
                f"{what} is of the model {self.model}, a fisheye lens; make pinhole images first with: colmap "
                "image_undistorter --image_path IMAGES --input_path MODEL --output_path OUT, and give OUT"
            )
        found = np.array([self.values.get(name, 0.0) for name in COEFFICIENTS])
        if not np.isfinite(found).all():
            raise FormatError(f"{what}: its distortion {found.tolist()} is not finite")
        return found


@dataclass(frozen=True)
class Image:
    """A registered photograph: its file's name, its camera's number and its (4, 4) pose, world to camera."""

    name: str
    camera: int
    world_to_camera: np.ndarray


def _camera(model: str, names: str, width: int, height: int, values: list[float], number: int) -> Camera:
    if not (0 < width <= 100_000 and 0 < height <= 100_000):
        raise FormatError(f"camera {number}: an image of {width} x {height} pixels")
    if len(values) != len(names.split()):
        raise FormatError(f"camera {number}: {model} has the parameters {names}, not {len(values)} numbers")
    return Camera(model, width, height, dict(zip(names.split(), values, strict=True)))


def _image(name: str, camera: int, quaternion: list[float], translation: list[float]) -> Image:
    what = f"image '{name[:80]}'"
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise FormatError(f"{what}: this names no file under the folder of images")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = of_quaternion(quaternion, what), translation
    if not np.isfinite(pose).all() or np.abs(pose).max() > 1e12:
        raise FormatError(f"{what}: its position is not finite")
    return Image(name, camera, pose)


class _Cursor:
    """Reads numbers from bytes one after another and never past their end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[float, ...]:
        """Little-endian numbers of a `struct` format."""
        end = self.at + struct.calcsize("<" + form)
        if end > len(self.data):
            raise FormatError(f"it ends after {len(self.data)} bytes; {end - len(self.data)} more are needed")
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at = end
        return found

    def count(self, smallest: int) -> int:
        """A number of records of at least `smallest` bytes, that can follow."""
        (count,) = self.take("Q")
        if count * smallest > len(self.data) - self.at:
            raise FormatError(f"it announces {count} records; {len(self.data) - self.at} bytes follow")
        return int(count)

    def skip(self, size: int) -> None:
        self.take(f"{size}x")

    def name(self) -> str:
        """Text up to the next zero byte."""
        end = self.data.find(b"\0", self.at, self.at + 4096)
        if end < 0:
            raise FormatError("the name of an image does not end")
        found = self.data[self.at : end].decode("utf-8", errors="replace")
        self.at = end + 1
        return found


def parse_cameras(data: bytes) -> dict[int, Camera]:
    """cameras.bin: lenses by number.

    Raises:
        FormatError: if it is damaged.
    """
    cursor, cameras = _Cursor(data), {}
    for _ in range(cursor.count(24)):
        number, model, width, height = map(int, cursor.take("IiQQ"))
        if not 0 <= model < len(MODELS):
            raise FormatError(f"camera {number}: model {model} is unknown; 0 to {len(MODELS) - 1} are known")
        name, parameters = MODELS[model]
        values = cursor.take(f"{len(parameters.split())}d")
        cameras[number] = _camera(name, parameters, width, height, list(values), number)
    return cameras


def parse_cameras_text(data: bytes) -> dict[int, Camera]:
    """cameras.txt: lenses by number.

    Raises:
        FormatError: if it is damaged.
    """
    known, cameras = dict(MODELS), {}
    for line in _rows(data):
        words = line.split()
        if len(words) < 5 or words[1] not in known:
            raise FormatError(f"'{line[:60]}' is no camera (number, model, width, height, parameters)")
        number, width, height = (integer(words[i], what) for i, what in ((0, "camera"), (2, "width"), (3, "height")))
        values = _floats(words[4:], f"camera {number}")
        cameras[number] = _camera(words[1], known[words[1]], width, height, values, number)
    return cameras


def parse_images(data: bytes) -> list[Image]:
    """images.bin: registered photographs, sorted by name.

    Raises:
        FormatError: if it is damaged or holds none.
    """
    cursor, images = _Cursor(data), []
    for _ in range(cursor.count(73)):
        _, *pose, camera = cursor.take("I7dI")
        images.append(_image(cursor.name(), int(camera), pose[:4], pose[4:]))
        cursor.skip(24 * cursor.count(24))
    return _sorted(images)


def parse_images_text(data: bytes) -> list[Image]:
    """images.txt: registered photographs, sorted by name; two lines each, of which the second may be empty.

    Raises:
        FormatError: if it is damaged or holds none.
    """
    images = []
    lines = iter(line for line in data.decode("utf-8", errors="replace").splitlines() if line[:1] != "#")
    for line in lines:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise FormatError(f"'{line[:60]}' is no image (number, 4 + 3 numbers of its pose, camera, name)")
        pose = _floats(words[1:8], f"image '{words[9][:60]}'")
        images.append(_image(words[9].strip(), integer(words[8], "camera"), pose[:4], pose[4:]))
        next(lines, None)  # its key points
    return _sorted(images)


def _sorted(images: list[Image]) -> list[Image]:
    if not images:
        raise FormatError("it holds no image")
    return sorted(images, key=lambda image: image.name)


def parse_points(data: bytes) -> np.ndarray:
    """points3D.bin: (N, 3) float64 positions of the points.

    Raises:
        FormatError: if it is damaged.
    """
    cursor = _Cursor(data)
    count = cursor.count(51)
    found: list[tuple[float, ...]] = []
    size, at = len(data), cursor.at
    position, length = struct.Struct("<3d").unpack_from, struct.Struct("<Q").unpack_from
    for _ in range(count):  # by hand: models hold millions of points
        if at + 51 > size:
            raise FormatError(f"it ends within point {len(found)} of {count}")
        found.append(position(data, at + 8))
        at += 51 + 8 * length(data, at + 43)[0]
    if at > size:
        raise FormatError("it ends within the last point")
    return _finite(np.array(found, dtype=np.float64).reshape(-1, 3))


def parse_points_text(data: bytes) -> np.ndarray:
    """points3D.txt: (N, 3) float64 positions of the points.

    Raises:
        FormatError: if it is damaged.
    """
    rows = [line.split(maxsplit=4)[1:4] for line in _rows(data)]
    if any(len(row) < 3 for row in rows):
        raise FormatError("a point has fewer than three coordinates")
    return _finite(np.array([_floats(row, "points") for row in rows], dtype=np.float64).reshape(-1, 3))


def _finite(points: np.ndarray) -> np.ndarray:
    """Points at infinity do occur, and say nothing."""
    return points[(np.abs(points) < 1e12).all(axis=1)]


def _rows(data: bytes) -> list[str]:
    return [line for line in text_lines(data) if line.strip() and line.lstrip()[0] != "#"]


def _floats(words: list[str], what: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise FormatError(f"{what}: {error}") from error
