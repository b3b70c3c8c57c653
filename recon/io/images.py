"""Photographs, masks, label and depth images; whatever is wrong with a file is told with its name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from recon.errors import DataError
from recon.io.files import atomic

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def read_image(source: str | Path | bytes, name: str = "", turn: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """A photograph as the eye sees it: turned as its EXIF data say, whatever its mode.

    Args:
        source: a file, or its bytes.
        name: what messages call it; a file's path where none is given.
        turn: False leaves the pixels as stored, for images whose cameras were calibrated so (COLMAP minds no EXIF).

    Returns:
        (H, W, 3) uint8 RGB, and (H, W) uint8 alpha or None where the file has none.

    Raises:
        DataError: naming file and cause.
    """
    picture = _opened(source, name, turn=turn)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = np.asarray(picture if picture.mode == "RGBA" else picture.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))  # 16-bit grey: brought to 8 bits
        scale = 257.0 if picture.mode.startswith("I") else 1 / 255
        picture = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    return np.asarray(picture.convert("RGB")), None


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the pixels as stored, from the file's header alone.

    Raises:
        DataError: naming the file.
    """
    with _told(_called(path, "")), Image.open(path) as picture:
        return picture.size


def read_gray(source: str | Path | bytes, name: str = "") -> np.ndarray:
    """(H, W) values of the first channel as stored, uint8 or uint16: masks, instance and label images.

    Raises:
        DataError: naming file and cause.
    """
    picture = _opened(source, name)
    if picture.mode in ("1", "P", "LA", "PA"):
        picture = picture.convert("L") if picture.mode != "P" else picture
    values = np.asarray(picture)
    values = values[..., 0] if values.ndim == 3 else values
    if values.dtype.kind not in "uib" or not 0 <= values.min() <= values.max() <= 65535:
        raise DataError(
            f"'{_called(source, name)}': its pixels are {values.dtype}, not 8 or 16 bit.", "Save it as png."
        )
    return values.astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16)


def read_depth(source: str | Path | bytes, unit: float = 0.001, name: str = "") -> np.ndarray:
    """(H, W) float32 depth in metres, 0 where missing, of a 16-bit image.

    Args:
        source: a file, or its bytes.
        unit: metres a count: 0.001 for millimetres, 1 / 5000 for TUM's recordings.
        name: what messages call it.

    Raises:
        DataError: naming file and cause; also for 8-bit images, which are pictures of depth and not depth.
    """
    values = read_gray(source, name)
    if values.dtype != np.uint16:
        raise DataError(f"'{_called(source, name)}': this depth image has 8 bits.", "Give 16-bit depth, 0 = missing.")
    return values.astype(np.float32) * np.float32(unit)


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write an image whole or not at all.

    Args:
        path: where; the suffix must be .png (or .jpg for 8-bit RGB).
        pixels: uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W).
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    with atomic(path) as temporary:
        picture.save(temporary, quality=95)


def image_files(folder: Path) -> list[Path]:
    """Images of a folder, sorted by name; numbers in names count as numbers, so that 10 comes after 9."""
    found = [f for f in folder.iterdir() if f.suffix.lower() in IMAGES and f.is_file() and not f.name.startswith(".")]
    return sorted(found, key=lambda f: natural(f.name))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts ``frame-10`` after ``frame-9``."""
    parts: list[str] = [""]
    for letter in name:
        if parts[-1] and parts[-1][-1].isdecimal() != letter.isdecimal():
            parts.append("")
        parts[-1] += letter
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


def _opened(source: str | Path | bytes, name: str, turn: bool = False) -> Image.Image:
    """A picture with its pixels decoded; its file is closed, whatever comes of it."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    with _told(_called(source, name)), Image.open(stream) as picture:
        picture.load()
        if turn:
            ImageOps.exif_transpose(picture, in_place=True)
        return picture


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever is wrong with an image becomes a `DataError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"'{name}': this image is not there.", "Check the path.") from error
    # Pillow refuses headers that claim more than 179 million pixels. Its decoders raise whatever they stumble over:
    # struct.error, ValueError, SyntaxError, EOFError, ...
    except Exception as error:
        raise DataError(f"'{name}': this image cannot be read ({error}).", "Save it again as png or jpg.") from error


def _called(source: str | Path | bytes, name: str) -> str:
    return name or ("an image" if isinstance(source, bytes) else str(source))
