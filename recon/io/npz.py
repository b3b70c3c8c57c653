"""Arrays of .npz files, read where they lie: what is stored plainly is mapped, so that only what is used is read."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.arrays import DEFLATE_RATIO, parse_npy
from recon.io.parsing import FormatError

KEPT_OPEN = 128  # maps a process keeps, each of them an open file; systems allow 256 and more
LARGEST = 1 << 30  # bytes that one deflated array may take
LOCAL_HEADER = 30
ENCRYPTED = 1
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, OSError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)


class Npz:
    """The arrays of one .npz file, by name.

    A map sees the file as it was when opened, also after another took its name. It must not be cut short meanwhile:
    write to a temporary name and rename, as everything here does.

    Args:
        path: of the file.

    Raises:
        DataError: if it is missing or no zip archive.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._mapped: dict[str, np.ndarray] = {}
        with self.errors(), self.path.open("rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                self._members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            self._data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> tuple[str, ...]:
        """Of all its arrays."""
        return tuple(self._members)

    def data(self, name: str) -> bytes | memoryview:
        """The bytes of the .npy file that an array is, for those who read more than plain numbers.

        Raises:
            DataError: naming the file and the array if it is missing or damaged.
        """
        with self.errors(name):
            return self._bytes(name)

    def array(self, name: str) -> np.ndarray:
        """The array as it is stored: a read-only view of the file, or what was inflated.

        Raises:
            DataError: naming the file and the array if it is missing, damaged, of Python objects, or announces more
                than the file can hold.
        """
        if name in self._mapped:
            return self._mapped[name]
        with self.errors(name):
            data = self._bytes(name)
            array = parse_npy(data)
        if isinstance(data, memoryview):  # what was inflated takes memory and is the caller's to keep
            self._mapped[name] = array
        return array

    def verify(self, *names: str) -> None:
        """Compare these arrays with their checksums, which reading some rows of them cannot do.

        Raises:
            DataError: if they differ.
        """
        for name in names:
            with self.errors(name):
                if zlib.crc32(self._bytes(name)) != self._members[name].CRC:
                    raise FormatError("its checksum is wrong")

    @contextmanager
    def errors(self, field: str = "") -> Iterator[None]:
        """Make whatever is wrong with the file (and a field of it) a `DataError` that says so."""
        where = f"'{self.path}': field '{field}': " if field else f"'{self.path}': "
        try:
            yield
        except FormatError as error:
            raise DataError(f"{where}{error}.", "Download or make this file again.") from error
        except BROKEN as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else f"no readable npz ({error})"
            raise DataError(f"{where}{reason}.", "Download or make this file again.") from error

    def _bytes(self, name: str) -> bytes | memoryview:
        if name not in self._members:
            raise FormatError(f"it is missing (there are: {', '.join(sorted(self._members))[:120]})")
        member = self._members[name]
        raw = self._raw(member)
        if member.compress_type == zipfile.ZIP_STORED:
            return raw
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise FormatError(f"it is compressed in way {member.compress_type}; stored or deflated arrays are read")
        if member.file_size > min(len(raw) * DEFLATE_RATIO, LARGEST):
            raise FormatError(f"it announces {member.file_size} bytes, more than {len(raw)} may become")
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, member.file_size + 1)
        if len(inflated) != member.file_size:
            raise FormatError(f"it announces {member.file_size} bytes, {len(inflated)} or more came")
        return inflated

    def _raw(self, member: zipfile.ZipInfo) -> memoryview:
        """The member's bytes as they lie in the file."""
        head = self._data[member.header_offset :][:LOCAL_HEADER]
        if len(head) < LOCAL_HEADER or bytes(head[:4]) != b"PK\x03\x04" or member.flag_bits & ENCRYPTED:
            raise FormatError("it is encrypted, or not where the archive says")
        name_length, extra_length = struct.unpack("<HH", head[26:30])
        start = member.header_offset + LOCAL_HEADER + name_length + extra_length
        raw = self._data[start : start + member.compress_size]
        if len(raw) < member.compress_size:
            raise FormatError(f"it announces {member.compress_size} bytes, {len(raw)} are there")
        return raw


def open_npz(path: str | Path) -> Npz:
    """The arrays of a file; those of the `KEPT_OPEN` files used last stay open, each process for itself.

    Raises:
        DataError: as `Npz`.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise DataError(f"'{path}': {error.strerror}.", "Download or make this file again.") from error
    return _opened(str(path), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(KEPT_OPEN)
def _opened(path: str, inode: int, size: int, modified: int) -> Npz:
    """A file that was replaced is another key, so that it is opened anew."""
    return Npz(path)


def rows_of(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``table[rows]`` of an (N, C) array that may lie anywhere in a map, without a copy of the rest."""
    if not table.flags.c_contiguous:
        return table[rows]
    # As opaque records, which have no alignment that NumPy would have to mend first.
    records = table.view(np.dtype((np.void, table.itemsize * table.shape[1])))[:, 0]
    return records[rows].view(table.dtype).reshape(len(rows), table.shape[1])
