"""Arrays of Occupancy Networks' layout: ``pointcloud.npz`` and ``points.npz``; lists and names are in `splits`.

Coordinates are those of the unit cube about the origin; ``world = scale * local + loc``. Readers convert only the rows
that are asked for, so that drawing some thousand points costs no more than that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.files import atomic
from recon.io.npz import Npz, open_npz, rows_of
from recon.io.parsing import FormatError

Rows = np.ndarray | slice
ALL = slice(None)


class _Stored:
    """What both files share: ``points`` and the way from local to world coordinates."""

    def __init__(self, path: str | Path) -> None:
        self.file: Npz = open_npz(path)
        self._points = self._table("points")

    def __len__(self) -> int:
        return len(self._points)

    @property
    def is_half(self) -> bool:
        """The points are stored as float16, in steps of up to 2.4e-4 at 0.5."""
        return self._points.dtype.itemsize == 2

    def points(self, rows: Rows = ALL, kind: type[np.floating] = np.float32) -> np.ndarray:
        """(K, 3) local coordinates of these rows.

        Raises:
            DataError: if some are not finite.
        """
        return self._rows("points", self._points, rows, kind)

    def world(self) -> tuple[float, np.ndarray]:
        """Scale and (3,) location: ``world = scale * local + location``; 1 and 0 where the file says nothing.

        Raises:
            DataError: if they are not finite, or the scale is not positive.
        """
        scale, location = self._constant("scale", np.ones(())), self._constant("loc", np.zeros(3))
        with self.file.errors("scale"):
            if scale.size != 1 or not scale.item() > 0:
                raise FormatError(f"{scale.tolist()} is no positive number")
        with self.file.errors("loc"):
            if location.shape != (3,):
                raise FormatError(f"it has shape {location.shape}, not (3,)")
        return float(scale.item()), location

    def _constant(self, name: str, default: np.ndarray) -> np.ndarray:
        if name not in self.file:
            return default
        value = self.file.array(name)
        with self.file.errors(name):
            if value.size > 3 or not np.isfinite(value).all():
                raise FormatError(f"it has shape {value.shape}, or is not finite")
        return value.astype(np.float64)

    def _table(self, name: str) -> np.ndarray:
        table = self.file.array(name)
        with self.file.errors(name):
            if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0 or table.dtype.kind != "f":
                raise FormatError(f"it holds {table.dtype} of shape {table.shape}, not floats of shape (N, 3)")
        return table

    def _rows(self, name: str, table: np.ndarray, rows: Rows, kind: type[np.floating]) -> np.ndarray:
        picked = table[rows] if isinstance(rows, slice) else rows_of(table, rows)
        values = picked.astype(kind)
        if not np.isfinite(values).all():
            with self.file.errors(name):
                raise FormatError(f"{int((~np.isfinite(values)).any(axis=1).sum())} of the rows read are not finite")
        return values


class SurfaceFile(_Stored):
    """``pointcloud.npz``: samples ``points`` (N, 3) of a surface and, mostly, their ``normals`` (N, 3).

    Args:
        path: of the file; arrays are read on demand.

    Raises:
        DataError: if it is missing, damaged, or has no usable points.
    """

    @property
    def has_normals(self) -> bool:
        return "normals" in self.file

    def normals(self, rows: Rows = ALL, kind: type[np.floating] = np.float32) -> np.ndarray:
        """(K, 3) outward normals of these rows, at length one (float16 has some 5e-4 of it to spare).

        Raises:
            DataError: if there are none, or some are not finite.
        """
        table = self._table("normals")
        with self.file.errors("normals"):
            if len(table) != len(self):
                raise FormatError(f"there are {len(table)} for {len(self)} points")
        normals = self._rows("normals", table, rows, kind)
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
        return normals / np.where(length > 0, length, 1)

    def verify(self) -> None:
        """Check the arrays' checksums. Raises: DataError."""
        self.file.verify("points", *(["normals"] if self.has_normals else []))


class QueryFile(_Stored):
    """``points.npz``: ``points`` (N, 3) anywhere and ``occupancies``, whether each is inside.

    Occupancies are single bits, the highest of a byte first (`numpy.packbits`), or a number in [0, 1] a point.

    Args:
        path: of the file; arrays are read on demand.

    Raises:
        DataError: if it is missing, damaged, or has no usable points or no occupancy a point.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        stored = self.file.array("occupancies")
        with self.file.errors("occupancies"):
            self._packed = stored.dtype == np.uint8 and len(self) > 1 and stored.shape == (-(-len(self) // 8),)
            if not self._packed and stored.shape != (len(self),):
                raise FormatError(f"it holds {stored.dtype} of shape {stored.shape} for {len(self)} points")
        self._stored = stored

    def inside(self, rows: Rows = ALL) -> np.ndarray:
        """(K,) bool of these rows.

        Raises:
            DataError: if unpacked ones lie outside [0, 1].
        """
        if self._packed:
            if isinstance(rows, slice):
                return np.unpackbits(self._stored, count=len(self)).astype(bool)[rows]
            return ((self._stored[rows >> 3] << (rows & 7)) & 128).astype(bool)
        values = self._stored[rows]
        with self.file.errors("occupancies"):
            if not ((values >= 0) & (values <= 1)).all():
                raise FormatError("some values lie outside [0, 1]")
        return values >= 0.5

    def verify(self) -> None:
        """Check the arrays' checksums. Raises: DataError."""
        self.file.verify("points", "occupancies")


def write_pointcloud(
    path: str | Path,
    points: np.ndarray,
    normals: np.ndarray | None = None,
    loc: np.ndarray | None = None,
    scale: float = 1.0,
    half: bool = True,
) -> None:
    """Write ``pointcloud.npz``, not compressed, so that it can be mapped.

    Args:
        path: of the file.
        points: (N, 3) local coordinates.
        normals: (N, 3) outward unit normals, or None.
        loc: (3,) world position of the local origin; None: 0.
        scale: world units per local unit.
        half: as float16, like the published files; else float32.

    Raises:
        DataError: if the file cannot be written, or float16 cannot hold the numbers.
    """
    tables = {"points": points} | ({} if normals is None else {"normals": normals})
    _write(path, {name: _narrow(path, table, half) for name, table in tables.items()}, loc, scale)


def write_points(
    path: str | Path,
    points: np.ndarray,
    inside: np.ndarray,
    loc: np.ndarray | None = None,
    scale: float = 1.0,
    half: bool = True,
    packed: bool = True,
) -> None:
    """Write ``points.npz``, not compressed, so that it can be mapped.

    Args:
        path: of the file.
        points: (N, 3) local coordinates.
        inside: (N,) bool.
        loc: (3,) world position of the local origin; None: 0.
        scale: world units per local unit.
        half: points as float16, like the published files; else float32.
        packed: one bit an occupancy, like the published files; else one byte.

    Raises:
        DataError: if the file cannot be written, or float16 cannot hold the numbers.
    """
    inside = np.asarray(inside, dtype=bool)
    occupancies = np.packbits(inside) if packed else inside
    _write(path, {"points": _narrow(path, points, half), "occupancies": occupancies}, loc, scale)


def _narrow(path: str | Path, table: np.ndarray, half: bool) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = np.asarray(table).astype(np.float16 if half else np.float32)
    if not np.isfinite(narrow).all():
        raise DataError(f"'{path}': {narrow.dtype} cannot hold its numbers.", "Normalise the shape to the unit cube.")
    return narrow


def _write(path: str | Path, arrays: dict[str, np.ndarray], loc: np.ndarray | None, scale: float) -> None:
    where = np.zeros(3) if loc is None else np.asarray(loc, dtype=np.float64)
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays, loc=where, scale=np.float64(scale))  # type: ignore[arg-type] # allow_pickle is bool
