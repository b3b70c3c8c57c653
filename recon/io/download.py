"""Downloads on request: size, licence and citation first, then the archive, then the one file that is wanted."""

from __future__ import annotations

import gzip
import logging
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from recon.errors import DataError
from recon.io.files import atomic
from recon.io.meshes import read_geometry
from recon.io.transfer import probe, receive

log = logging.getLogger("recon")

BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, KeyError)


@dataclass(frozen=True)
class Source:
    """Where a file can be had.

    Attributes:
        url: of the file, or of an archive (.tar.gz, .zip, .gz) that holds it.
        archive: the name to keep what is downloaded under.
        member: the file's path within the archive, or the end of that path; empty for .gz.
        licence: what its owners allow, in a line.
        citation: whom to cite.
        sha256: of what is downloaded, where it is known.
    """

    url: str
    archive: str
    member: str
    licence: str
    citation: str
    sha256: str = ""


def fetch(source: Source, target: str | Path) -> Path:
    """The file `target`, downloaded unless it is there already.

    The archive is kept in ``archives`` beside it, since others may want another of its members; one that was there
    before is never removed. Where no hash is known, the file counts as good if its archive is whole and it reads as
    geometry.

    Raises:
        DataError: if the download fails, or what came is not what was asked for.
    """
    target = Path(target)
    if target.exists():
        return target
    archive = target.parent / "archives" / source.archive
    if archive.exists():
        _unpack(archive, source.member, target, f"'{archive}' does not hold", "Replace it, or remove it to download it")
        return target
    _download(source, archive, target)
    hint = f"Download it in a browser and put the archive at '{archive}', or the file at '{target}'"
    try:
        _unpack(archive, source.member, target, f"{source.url} did not give", hint)
    except _NotTheFileError:
        archive.unlink()
        raise
    return target


class _NotTheFileError(DataError):
    """An archive that is broken, or does not hold what it should."""


def _unpack(archive: Path, member: str, target: Path, fault: str, hint: str) -> None:
    """Write a member to `target`; what else goes wrong there, such as a full disk, is no fault of the archive."""
    with atomic(target) as temporary:
        try:
            with _opened(archive, member) as stream, temporary.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
            read_geometry(temporary, on_bad_points="drop")
        except (*BROKEN, DataError) as error:
            with archive.open("rb") as stream:
                start = stream.read(200).lstrip().lower()
            why = "a web page came instead of the file" if start.startswith((b"<!doctype", b"<html")) else str(error)
            raise _NotTheFileError(f"{fault} '{member or target.name}': {why.splitlines()[0]}.", f"{hint}.") from error


def _download(source: Source, archive: Path, target: Path) -> None:
    try:
        remote = probe(source.url)
        size = "size unknown" if remote.size is None else f"{remote.size / 1e6:.1f} MB"
        log.warning("Downloading %s (%s). Licence: %s Cite: %s", source.url, size, source.licence, source.citation)
        receive(remote, archive, source.sha256)
    except DataError as error:
        raise DataError(error.what, f"{error.mend} Or put the file at '{target}' by hand.") from error


@contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The bytes of a member. Only its content is taken, never a path or a link from the archive."""
    name = archive.name.lower()
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        with tarfile.open(archive) as tar:
            stream = tar.extractfile(_whole(member, tar.getnames()))
            if stream is None:
                raise KeyError(f"'{member}' is no file")
            with stream:
                yield stream
    elif name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped, zipped.open(_whole(member, zipped.namelist())) as packed:
            yield packed
    elif name.endswith(".gz"):
        with gzip.open(archive) as unpacked:
            yield unpacked
    else:
        with archive.open("rb") as plain:
            yield plain


def _whole(member: str, names: list[str]) -> str:
    found = [name for name in names if name.removeprefix("./") == member or name.endswith(f"/{member}")]
    if not found:
        raise KeyError(f"'{member}' is not in the archive")
    return found[0]
