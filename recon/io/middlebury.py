"""Middlebury's multi-view recordings: a ``*_par.txt`` with one line ``image K R t`` a photograph.

The projection is K [R | t] (vision.middlebury.edu/mview/data). Pixels are counted from 0 at the first one's centre.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.captures import Capture, Shot, inverse, parsed, pinhole, rigid, told
from recon.io.parsing import FormatError, integer, text_lines

CORNER = re.compile(r"\(\s*([-+.\deE]+)[\s,]+([-+.\deE]+)[\s,]+([-+.\deE]+)\s*\)")


def find_par(folder: Path) -> Path | None:
    """The list of cameras of a folder, if it has one."""
    return next(iter(sorted(folder.glob("*_par.txt"))), None)


def read_middlebury(folder: str | Path) -> Capture:
    """The photographs and cameras of a folder, and the bounding box that its README may tell.

    Raises:
        DataError: if the list is missing or damaged.
    """
    folder = Path(folder)
    par = find_par(folder)
    if par is None:
        raise DataError(f"'{folder}': there is no *_par.txt with cameras.", "Give the folder that holds it.")
    with told(par):
        shots = tuple(Shot(folder / name, k, pose) for name, k, pose in parsed(par, parse_par))
    notes = next((f for f in sorted(folder.iterdir()) if f.name.lower().startswith("readme") and f.is_file()), None)
    return Capture(shots, box=None if notes is None else parsed(notes, parse_box))


def parse_par(data: bytes) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """File name, K (3, 3) with pixel centres at integer + 0.5, and pose (4, 4) camera to world, of each line.

    Raises:
        FormatError: if a line is damaged, or there are not as many as announced.
    """
    rows = [line for line in text_lines(data) if line.strip()]
    if not rows:
        raise FormatError("it is empty")
    count, rows = integer(rows[0].strip(), "number of images"), rows[1:]
    if count != len(rows) or not rows:
        raise FormatError(f"it announces {count} images; {len(rows)} lines follow")
    return [_camera(line.split()) for line in rows]


def _camera(words: list[str]) -> tuple[str, np.ndarray, np.ndarray]:
    what = f"image '{words[0][:60]}'"
    if Path(words[0]).is_absolute() or ".." in Path(words[0]).parts or "\0" in words[0]:
        raise FormatError(f"{what}: this names no file of the folder")
    try:
        values = np.array([float(word) for word in words[1:]])
    except ValueError as error:
        raise FormatError(f"{what}: {error}") from error
    if len(values) != 21 or not np.isfinite(values).all():
        raise FormatError(f"{what}: {len(values)} numbers, not 21 finite ones of K, R and t")
    k = values[:9].reshape(3, 3)
    if k[2].tolist() != [0, 0, 1] or k[1, 0] != 0:
        raise FormatError(f"{what}: K is not upper triangular with a last row 0 0 1")
    intrinsics = pinhole(k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, what)
    intrinsics[0, 1] = k[0, 1]
    world_to_camera = np.column_stack([values[9:18].reshape(3, 3), values[18:]])
    return words[0], intrinsics, inverse(rigid(world_to_camera, what))


def parse_box(data: bytes) -> np.ndarray | None:
    """(2, 3) corners of the first pair of ``(x y z)`` after the words "bounding box"; None if there is none."""
    text = data[:100_000].decode("latin-1")
    start = text.lower().find("bounding box")
    corners = CORNER.findall(text[start:]) if start >= 0 else []
    try:
        box = np.array([[float(word) for word in corner] for corner in corners[:2]])
    except ValueError:
        return None
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
        return None
    return box
