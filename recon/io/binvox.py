"""Voxels as binvox files: a short text header, then runs as pairs of bytes (value, count)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.files import atomic
from recon.io.parsing import FormatError, integer, numbers

LARGEST = 1024
"""Voxels along a side that are read: a grid of one gigabyte."""
HEADER = 1024
"""Bytes in which a header must end."""
FIELDS = {"dim": 3, "translate": 3, "scale": 1}


@dataclass(frozen=True)
class Binvox:
    """A cube of voxels and where it lies.

    The centre of voxel (i, j, k) of n along a side lies at ``translate + scale * ((i, j, k) + 0.5) / n``.

    Attributes:
        grid: (n, n, n) bool, axes x, y, z.
        translate: (3,) float64, the cube's lowest corner.
        scale: the cube's side.
    """

    grid: np.ndarray
    translate: np.ndarray
    scale: float = 1.0


def read_binvox(path: str | Path, largest: int = LARGEST) -> Binvox:
    """The voxels of a file.

    Args:
        path: of the file.
        largest: voxels along a side that are allowed, for a file's header may claim any number.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        return parse_binvox(Path(path).read_bytes(), largest)
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check the path, or make the voxels again.") from error


def parse_binvox(data: bytes, largest: int = LARGEST) -> Binvox:
    """The voxels of a file's bytes.

    Raises:
        FormatError: if they are none, or damaged.
    """
    side, translate, scale, start = _header(data)
    if not 0 < side <= largest:
        raise FormatError(f"dim: {side} voxels along a side; 1 to {largest} are read")
    runs = np.frombuffer(data, dtype=np.uint8, offset=start)
    if len(runs) % 2:
        raise FormatError("data: it ends within a pair of value and count")
    values, counts = runs[::2], runs[1::2]
    if values.max(initial=0) > 1:
        raise FormatError(f"data: a voxel has the value {values.max()}, not 0 or 1")
    total = int(counts.sum(dtype=np.int64))
    if total != side**3:
        raise FormatError(f"data: its runs hold {total} voxels, not {side}^3")
    # In the file x varies slowest and y fastest.
    grid = np.repeat(values.astype(bool), counts).reshape(side, side, side).transpose(0, 2, 1)
    return Binvox(np.ascontiguousarray(grid), translate, scale)


def _header(data: bytes) -> tuple[int, np.ndarray, float, int]:
    """Voxels along a side, translation, scale, and where the runs start."""
    lines, start = _header_lines(data)
    fields: dict[str, list[str]] = {}
    for line in lines:
        name, *words = line.split()
        if len(words) != FIELDS.get(name) or name in fields:
            raise FormatError(f"header: '{line[:40]}' is not what a binvox file has there")
        fields[name] = words
    missing = FIELDS.keys() - fields.keys()
    if missing:
        raise FormatError(f"header: it has no '{min(missing)}'")
    sides = [integer(word, "dim") for word in fields["dim"]]
    if len(set(sides)) > 1:
        raise FormatError(f"dim: {sides} is not a cube, and programs differ in the order of such axes")
    translate = numbers([" ".join(fields["translate"])], "translate")[0]
    scale = float(numbers(fields["scale"], "scale")[0, 0])
    if not np.isfinite(translate).all() or not np.isfinite(scale) or scale <= 0:
        raise FormatError(f"header: translate {translate.tolist()} and scale {scale} are no place for voxels")
    return sides[0], translate, scale, start


def _header_lines(data: bytes) -> tuple[list[str], int]:
    """The lines between the first and ``data``, and where the runs start."""
    text = data[:HEADER].decode("latin-1")
    first, *_ = text.split("\n", 1)
    if first.split() != ["#binvox", "1"]:
        raise FormatError("header: it does not start with '#binvox 1'")
    end = text.find("\ndata\n")
    if end < 0:
        raise FormatError(f"header: no line 'data' within {HEADER} bytes")
    return [line for line in text[len(first) : end].split("\n") if line.strip()], end + len("\ndata\n")


def write_binvox(path: str | Path, voxels: Binvox) -> None:
    """Write voxels whole or not at all; what is read back is the same, to the last bit.

    Raises:
        DataError: if the file cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(format_binvox(voxels))


def format_binvox(voxels: Binvox) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: if the grid is not a cube.
    """
    side = len(voxels.grid)
    if side == 0 or voxels.grid.shape != (side,) * 3:
        raise ValueError(f"binvox files hold cubes, not grids of shape {voxels.grid.shape}")
    translate = " ".join(repr(float(value)) for value in voxels.translate)
    header = f"#binvox 1\ndim {side} {side} {side}\ntranslate {translate}\nscale {float(voxels.scale)!r}\ndata\n"
    flat = np.asarray(voxels.grid, dtype=bool).transpose(0, 2, 1).ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(starts, append=len(flat))
    # A run longer than 255 takes several pairs, all of them full but the last.
    pieces = -(-lengths // 255)
    counts = np.full(pieces.sum(), 255, dtype=np.uint8)
    counts[pieces.cumsum() - 1] = lengths - 255 * (pieces - 1)
    values = np.repeat(flat[starts], pieces).view(np.uint8)
    return header.encode("ascii") + np.column_stack([values, counts]).tobytes()
