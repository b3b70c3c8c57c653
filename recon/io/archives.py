"""Archives are opened with distrust: nothing is written outside the folder, and never more than was announced."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from recon.errors import DataError
from recon.io.files import atomic
from recon.io.remote_zip import RangedFile, in_order
from recon.io.transfer import Remote

BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, KeyError,
          NotImplementedError, RuntimeError, UnicodeError, ValueError, OverflowError)  # fmt: skip
RATIO = 40  # an archive that unpacks to more than this times its size is a trap
FLOOR = 100 << 20  # unless that is less than this
LONGEST = 1000  # characters of a path
CHUNK = 1 << 20
MOST_AT_ONCE = 16 << 20


@dataclass(frozen=True)
class Pick:
    """Which members are wanted, and where they go.

    Attributes:
        root: pattern; what lies before its first match in a member's path is cut off, and members that do not match
            are left out; empty takes all as they are.
        skip: pattern of members to leave out; empty leaves out none.
        group: pattern of the folder whose name says what group a member belongs to; empty: there are no groups.
        groups: names of those wanted; None wants all. Members of no group are always wanted.
    """

    root: str = ""
    skip: str = ""
    group: str = ""
    groups: frozenset[str] | None = None

    def place(self, name: str) -> PurePosixPath | None:
        """The path that a member goes to, or None if it is not wanted."""
        path = PurePosixPath(name)
        if self.root:
            at = next((i for i, part in enumerate(path.parts) if re.fullmatch(self.root, part)), None)
            if at is None:
                return None
            path = PurePosixPath(*path.parts[at:])
        if self.skip and re.search(self.skip, str(path)):
            return None
        found = self.group_of(path)
        return path if self.groups is None or found is None or found in self.groups else None

    def group_of(self, path: PurePosixPath) -> str | None:
        """The group that a path belongs to."""
        return next((part for part in path.parts if self.group and re.fullmatch(self.group, part)), None)


Told = Callable[[str, int], None]


def unpack(archive: Path, folder: Path, pick: Pick, told: Told = lambda name, size: None) -> list[PurePosixPath]:
    """Open a .zip, .tar or .tar.gz; files that are there already, whole, are left as they are.

    Args:
        archive: its content, not its name, says what it is.
        folder: which nothing is written outside of.
        pick: what is wanted.
        told: called with each member's name and size.

    Returns:
        the paths of all wanted files, relative to the folder.

    Raises:
        DataError: if the archive is damaged, unpacks to far more than its own size, or holds links, devices, or names
            that lead out of the folder.
    """
    most = max(FLOOR, RATIO * archive.stat().st_size)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return _members(opened, opened.infolist(), folder, pick, most, told)
        with _decompressed(archive) as stream, tarfile.open(fileobj=_Sober(stream), mode="r:") as tar:
            return _tar(tar, folder, pick, most, told)
    except BROKEN as error:
        raise _damaged(str(archive), error) from error


def unpack_remote(
    remote: Remote, folder: Path, pick: Pick, told: Told = lambda name, size: None, check: Callable[[int], object] = int
) -> tuple[list[PurePosixPath], int]:
    """As `unpack`, of a .zip on a server that gives parts of files: only what is wanted is downloaded.

    Args:
        remote: the .zip.
        folder: as for `unpack`.
        pick: as for `unpack`.
        told: called with each member's name and compressed size.
        check: called with the bytes that the wanted files will take, before the first is fetched.

    Returns:
        the paths of all wanted files, and the bytes that were downloaded.

    Raises:
        DataError: as `unpack`.
    """
    file = RangedFile(remote)
    try:
        with zipfile.ZipFile(cast(IO[bytes], file)) as opened:
            wanted = [m for m in opened.infolist() if _wanted(m, pick)]
            check(sum(member.file_size for member in wanted))
            ordered = in_order(opened, file, wanted)
            return _members(opened, ordered, folder, pick, max(FLOOR, RATIO * file.size), told), file.fetched
    except BROKEN as error:
        raise _damaged(remote.url, error) from error


def _wanted(member: zipfile.ZipInfo, pick: Pick) -> bool:
    return not member.is_dir() and pick.place(safe(member.filename)) is not None


def _members(
    archive: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo], folder: Path, pick: Pick, most: int, told: Told
) -> list[PurePosixPath]:
    """Unpack members of a .zip, once all of its names are known to be harmless."""
    for member in archive.infolist():
        safe(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(member.filename, "is a link or a device")
        if member.flag_bits & 1:
            raise DataError(f"The archive's '{member.filename}' is encrypted.", "Get it from its owners.")
    _bounded(sum(m.file_size for m in archive.infolist()), most)
    places = []
    for member in members:
        place = None if member.is_dir() else pick.place(member.filename)
        if place is not None:
            places.append(place)
            if not _is_there(folder, place, member.file_size):
                with archive.open(member) as stream:
                    _write(stream, folder, place, member.file_size)
            told(member.filename, member.compress_size)
    return places


def _tar(tar: tarfile.TarFile, folder: Path, pick: Pick, most: int, told: Told) -> list[PurePosixPath]:
    """Unpack a .tar as it comes: a compressed one has no directory to look at before."""
    places, total = [], 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined] # else it would remember a million of them
        name = safe(member.name)
        if not (member.isfile() or member.isdir()):
            raise _unsafe(member.name, "is a link or a device")
        total += member.size
        _bounded(total, most)
        place = None if member.isdir() else pick.place(name)
        if place is not None:
            places.append(place)
            if not _is_there(folder, place, member.size):
                stream = tar.extractfile(member)
                assert stream is not None
                _write(stream, folder, place, member.size)
        told(member.name, member.size)
    return places


class _Sober(io.RawIOBase):
    """A stream that refuses to give a lot at once: headers that announce gigabytes would fill the memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.stream.seek(offset, whence)

    def read(self, count: int | None = -1) -> bytes:
        if count is None or not 0 <= count <= MOST_AT_ONCE:
            raise ValueError(f"a header announces {count} bytes")
        return self.stream.read(count)


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as stream:
        start = stream.read(6)
    for magic, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if start.startswith(magic):
            return cast(IO[bytes], opened(archive, "rb"))
    return archive.open("rb")


def safe(name: str) -> str:
    """The name, if it stays below the folder it is opened in, on any system."""
    path = PurePosixPath(name)
    odd = "\\" in name or "\0" in name or re.match("[A-Za-z]:", name) or len(name) > LONGEST
    if path.is_absolute() or ".." in path.parts or odd:
        raise _unsafe(name[:LONGEST], "leads out of the folder")
    return name


def _is_there(folder: Path, place: PurePosixPath, size: int) -> bool:
    """Whether a file of that size is there, reached through no link that leads out of the folder."""
    target = folder / place
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise _unsafe(str(place), f"lies, through a link in '{folder}', outside of it")
    return target.is_file() and not target.is_symlink() and target.stat().st_size == size


def _write(stream: IO[bytes], folder: Path, place: PurePosixPath, size: int) -> None:
    """Write a file whole, and no longer than announced."""
    with atomic(folder / place) as temporary, temporary.open("wb") as copy:
        left = size
        while left > 0 and (piece := stream.read(min(CHUNK, left))):
            copy.write(piece)
            left -= len(piece)
        if left or stream.read(1):  # reading on past the end also checks a .zip's checksum
            raise EOFError(f"'{place}' is not of the {size} bytes announced")


def _bounded(total: int, most: int) -> None:
    if total > most:
        raise DataError(
            f"The archive unpacks to more than {most / 1e9:.1f} GB, {RATIO} times its own size.",
            "This is no data set but a trap; remove it.",
        )


def _unsafe(name: str, why: str) -> DataError:
    return DataError(f"The archive's '{name}' {why}; it is not opened.", "Ask those who published it.")


def _damaged(what: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"'{what}' is damaged, or no archive: {reason}.", "Remove it and download it again.")


def room_for(folder: Path, need: float) -> None:
    """Raise a DataError if the disk of `folder`, which need not exist yet, has less than `need` bytes left."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < need:
        raise DataError(
            f"'{folder}': {need / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free.",
            "Make room, name another folder with data.path=FOLDER, or ask for a part with only=[...].",
        )
