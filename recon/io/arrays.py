"""NumPy files, read without pickle and without trusting their headers: npy, and npz with points and normals."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError
from recon.io.parsing import FormatError, unit
from recon.io.types import Cloud

DEFLATE_RATIO = 1032  # the most that deflate can blow up a byte
HEADER = 1 << 14  # bytes in which an npy header must end; NumPy itself trusts no longer one


def read_array(path: str | Path) -> np.ndarray:
    """One numeric array of any shape from an .npy file.

    Raises:
        DataError: if the file is missing, damaged, or holds Python objects.
    """
    try:
        return parse_npy(Path(path).read_bytes())
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Give a numeric array saved with numpy.save.") from error


def parse_npy(data: bytes | memoryview) -> np.ndarray:
    """The array of an .npy file's bytes, which are not copied.

    Raises:
        FormatError: if the header is damaged, names objects, or announces more than follows.
    """
    shape, fortran, kind, start = parse_header(data)
    if kind.hasobject or kind.kind not in "biuf":
        raise FormatError(f"it holds '{kind}', not numbers")
    count, rest = 1, len(data) - start
    for length in shape:
        count *= length
    if min(shape, default=1) < 0 or count * kind.itemsize > rest:
        raise FormatError(f"its header announces shape {shape} of {kind}, {rest} bytes follow")
    values = np.frombuffer(data, kind, count, start)
    return values.reshape(shape, order="F" if fortran else "C")


def parse_header(data: bytes | memoryview) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, type and where the values begin, as an .npy file's bytes announce them.

    Raises:
        FormatError: if the header is damaged.
    """
    # Version 1 tells the header's length in bytes 8 and 9; many files have the very same header, which is read once.
    length = 10 + int.from_bytes(data[8:10], "little") if data[6:7] == b"\x01" else HEADER
    return _header(bytes(data[: min(length, HEADER)]))


@lru_cache(64)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = reader(stream)
    except (ValueError, SyntaxError, TypeError, RecursionError, tokenize.TokenError) as error:
        raise FormatError(f"its npy header cannot be read ({str(error).splitlines()[0][:120]})") from error
    return shape, fortran, kind, stream.tell()


def read_npy(data: bytes) -> Cloud:
    """(N, 3) points or (N, 6) points and normals.

    Raises:
        FormatError: if the array has another shape.
    """
    table = parse_npy(data)
    if table.ndim != 2 or table.shape[1] not in (3, 6):
        raise FormatError(f"it has shape {table.shape}; (N, 3) points or (N, 6) points and normals are read")
    table = table.astype(np.float64)
    return Cloud(table[:, :3], unit(table[:, 3:]) if table.shape[1] == 6 else None)


def read_npz(data: bytes) -> Cloud:
    """``points`` (N, 3) and, if there, ``normals`` (N, 3); other arrays are left alone.

    This is the layout of Occupancy Networks' ``pointcloud.npz``, whose points are read as they are stored.

    Raises:
        FormatError: if the archive is damaged or has no such array.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist()}
            key = next((k for k in ("points", "vertices", "xyz", "pos", "arr_0") if k in names), None)
            if key is None:
                raise FormatError(f"it has no array 'points' (it has: {', '.join(sorted(names))[:120]})")
            points = parse_npy(_member(archive, names[key], len(data)))
            normals = parse_npy(_member(archive, names["normals"], len(data))) if "normals" in names else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FormatError(f"it is no readable npz archive ({error})") from error
    if points.ndim == 2 and points.shape[1] == 6 and normals is None:
        points, normals = points[:, :3], points[:, 3:]
    if points.ndim != 2 or points.shape[1] != 3 or (normals is not None and normals.shape != points.shape):
        shape = None if normals is None else normals.shape
        raise FormatError(f"its points have shape {points.shape}, its normals {shape}; (N, 3) is wanted")
    return Cloud(points.astype(np.float64), None if normals is None else unit(normals))


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    announced = archive.getinfo(name).file_size
    if announced > size * DEFLATE_RATIO:
        raise FormatError(f"'{name}' announces {announced} bytes, more than {size} bytes can hold")
    return archive.read(name)


def write_npy(stream: io.BufferedIOBase, cloud: Cloud) -> None:
    """(N, 3) or, with normals, (N, 6) float64."""
    np.save(stream, cloud.points if cloud.normals is None else np.hstack([cloud.points, cloud.normals]))


def write_npz(stream: io.BufferedIOBase, cloud: Cloud) -> None:
    """``points``, and ``normals`` where there are any, float64."""
    if cloud.normals is None:
        np.savez(stream, points=cloud.points)
    else:
        np.savez(stream, points=cloud.points, normals=cloud.normals)
