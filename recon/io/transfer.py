"""Files from the web: what a server offers, downloads that go on where they broke off, and parts of files.

Half a download lies beside its place as ``.NAME.part``, with a note of which file it is half of. It takes its place
only when it is as long as announced and has the hash that is known of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

import requests
from urllib3.exceptions import HTTPError

from recon.errors import DataError
from recon.io.files import write_text

TIMEOUT = 30  # seconds without an answer
TRIES = 5  # in a row without a single new byte
PAUSE = 1.0  # seconds before the second try; each further one waits twice as long
CHUNK = 1 << 20
HASH = re.compile("[0-9a-f]{64}")
# Compressed transfer would make lengths and ranges speak of other bytes than the file's.
FINAL = range(400, 429)  # answers that asking again does not change
PLAIN = {"Accept-Encoding": "identity"}
BROKEN = (requests.RequestException, HTTPError, OSError)


class Told(Protocol):
    """What is told how many bytes are there now, of how many in all (None: nobody knows)."""

    def __call__(self, done: int, total: int | None) -> None: ...


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        url: where it was asked for.
        size: bytes, or None if the server does not say.
        ranges: whether parts of it can be had.
        tag: changes when the file does; empty if the server gives none.
        page: whether it is a web page, which no archive is.
    """

    url: str
    size: int | None
    ranges: bool
    tag: str
    page: bool


def probe(url: str) -> Remote:
    """What a server says of a file; nothing of it is downloaded.

    Raises:
        DataError: if there is no such server or file.
    """
    # Not HEAD: servers that redirect to storage often refuse it, and none tells by it whether ranges work.
    with _answer(url, {"Range": "bytes=0-0"}) as answer:
        ranged = _content_range(answer)
        length = answer.headers.get("Content-Length", "")
        return Remote(
            url,
            (ranged[1] if ranged else int(length)) if ranged or length.isdecimal() else None,
            ranged is not None,
            answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "",
            answer.headers.get("Content-Type", "").startswith("text/html"),
        )


def receive(remote: Remote, target: Path, sha256: str = "", told: Told = lambda done, total: None) -> str:
    """Download a file to `target`, going on where an earlier try broke off if the server can.

    Args:
        remote: as `probe` gave it.
        target: where the file goes.
        sha256: the hash that it must have, if it is known.
        told: called now and then with the bytes there are.

    Returns:
        its sha256.

    Raises:
        DataError: if it cannot be had whole, or is another file than expected.
    """
    part, note = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.json")
    if not _is_half_of(remote, part, note):
        part.unlink(missing_ok=True)
        write_text(note, json.dumps(asdict(remote)))  # which makes the folder, too
    half = _Half(part)
    failures = 0
    while not (half.size and half.size == remote.size):
        before = half.size
        try:
            _append(remote, half, told)
            break
        except _WrongFileError:
            part.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            raise
        except BROKEN as error:
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise DataError(
                    f"Cannot write '{part}': {error.strerror or error}.", "Make room, then repeat."
                ) from error
            failures = 0 if half.size > before and remote.ranges else failures + 1
            final = isinstance(error, requests.HTTPError) and getattr(error.response, "status_code", 0) in FINAL
            if failures >= TRIES or final:
                raise _failed(remote.url, error, part) from error
            time.sleep(PAUSE * 2**failures)
    found = half.digest.hexdigest()
    if sha256 and found != sha256:
        part.unlink()
        note.unlink(missing_ok=True)
        raise DataError(
            f"{remote.url}: its hash is {found}, not {sha256}: this is another file than is known.",
            "Ask its owners whether it changed; to take it all the same, remove its entry from downloads.json.",
        )
    part.replace(target)
    note.unlink(missing_ok=True)
    return found


def read_range(remote: Remote, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of a file.

    Raises:
        DataError: if they cannot be had, or the file is no longer the one that was asked about.
    """
    for failures in range(TRIES):
        try:
            with _open(remote.url, {"Range": f"bytes={start}-{stop - 1}"}) as answer:
                if _content_range(answer) != (start, remote.size) or not _same(remote, answer):
                    raise _WrongFileError(f"{remote.url} changed while it was read.", "Repeat the command.")
                data = b"".join(_pieces(answer))
            if len(data) == stop - start:
                return data
            error: Exception = OSError(f"{len(data)} of {stop - start} bytes came")
        except BROKEN as raised:
            error = raised
        if failures + 1 < TRIES:
            time.sleep(PAUSE * 2**failures)
    raise _failed(remote.url, error)


def sha256_of(path: Path) -> str:
    """The hash of a file on disk."""
    return _hash_so_far(path).hexdigest()


class _WrongFileError(DataError):
    """The server gives another file than it announced."""


class _Half:
    """What has come so far, and its hash."""

    def __init__(self, path: Path) -> None:
        self.path, self.digest = path, _hash_so_far(path)
        self.size = path.stat().st_size if path.exists() else 0

    def restart(self) -> None:
        self.path.unlink(missing_ok=True)
        self.size, self.digest = 0, hashlib.sha256()

    def add(self, stream: IO[bytes], piece: bytes) -> None:
        stream.write(piece)
        stream.flush()
        self.digest.update(piece)
        self.size += len(piece)


def _append(remote: Remote, half: _Half, told: Told) -> None:
    """Add what is missing."""
    ask = {"Range": f"bytes={half.size}-"} if half.size and remote.ranges else {}
    with _open(remote.url, ask) as answer:
        if not _same(remote, answer):
            raise _WrongFileError(f"{remote.url} changed while it was downloaded.", "Repeat the command.")
        ranged = _content_range(answer)
        if ask and ranged and ranged[0] != half.size:
            raise _WrongFileError(f"{remote.url}: the server gave another part than was asked for.", "Repeat it.")
        if not ranged:
            half.restart()
        told(half.size, remote.size)
        with half.path.open("ab") as stream:
            for piece in _pieces(answer):
                half.add(stream, piece)
                if remote.size is not None and half.size > remote.size:
                    raise _WrongFileError(
                        f"{remote.url} is longer than the {remote.size} bytes announced.", "Try later."
                    )
                told(half.size, remote.size)
    if remote.size is not None and half.size < remote.size:
        raise requests.ConnectionError(f"it ended after {half.size} of {remote.size} bytes")


def _is_half_of(remote: Remote, part: Path, note: Path) -> bool:
    """Whether what is there can be gone on with."""
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
        return bool(before == asdict(remote) and remote.ranges and part.stat().st_size <= (remote.size or 0))
    except (OSError, ValueError):
        return False


def _hash_so_far(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    if path.exists():
        with path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                digest.update(piece)
    return digest


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    # The raw stream, because some servers call a .tgz a compressed .tar and requests would unpack it.
    while piece := answer.raw.read(CHUNK, decode_content=False):
        yield piece


def _same(remote: Remote, answer: requests.Response) -> bool:
    headers, ranged = answer.headers, _content_range(answer)
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    return tag == remote.tag and (ranged is None or ranged[1] == remote.size)


def _content_range(answer: requests.Response) -> tuple[int, int] | None:
    """First byte and size of the whole file, if the answer is a part of it."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", "").strip())
    return (int(found[1]), int(found[2])) if found and answer.status_code == 206 else None


@contextmanager
def _open(url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    with requests.get(url, headers={**PLAIN, **headers}, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        yield answer


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    try:
        with _open(url, headers) as answer:
            yield answer
    except requests.RequestException as error:
        raise _failed(url, error) from error


def _failed(url: str, error: Exception, part: Path | None = None) -> DataError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    there = part is not None and part.exists() and part.stat().st_size
    kept = " What came is kept: the same command goes on from there." if there else ""
    return DataError(f"{url} could not be downloaded ({reason}).", f"Check the connection, or try later.{kept}")
