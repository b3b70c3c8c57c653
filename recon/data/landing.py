"""Published files come to lie where datasets look for them: downloaded whole, opened with distrust, checked, noted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from recon.data.catalogue_entries import Part
from recon.errors import DataError
from recon.io.archives import Pick, room_for, safe, unpack, unpack_remote
from recon.io.hub import list_files
from recon.io.ledger import Ledger
from recon.io.transfer import Remote, Told, probe, receive, sha256_of

log = logging.getLogger("recon")

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
TOLERANCE = 0.25  # of a published size
Step = Callable[[float, str], None]


@dataclass(frozen=True)
class Piece:
    """One file to get.

    Attributes:
        part: what it belongs to.
        name: path in the ledger, and below ``archives`` if it is an archive, else below the part's folder.
        remote: what its server says of it.
        groups: wanted groups, or None for all.
        sha256: published hash, if there is one.
    """

    part: Part
    name: str
    remote: Remote
    groups: frozenset[str] | None
    sha256: str = ""

    @property
    def is_archive(self) -> bool:
        return self.name.lower().endswith(ARCHIVES)

    @property
    def in_parts(self) -> bool:
        """Whether only the wanted members of it are downloaded."""
        zipped = self.name.lower().endswith(".zip")
        return (
            zipped and self.remote.ranges and bool(self.remote.size) and (self.groups is not None or self.part.sparse)
        )

    @property
    def megabytes(self) -> float | None:
        """What `land` will count: an archive twice, for it is downloaded and opened; None if nobody knows."""
        return None if self.in_parts or not self.bytes else self.bytes / 1e6 * (2 if self.is_archive else 1)

    @property
    def bytes(self) -> float:
        """Its size, as the server or else its owners say; 0 if nobody does."""
        return self.remote.size or self.part.gigabytes * 1e9


def pieces_of(part: Part, groups: frozenset[str] | None) -> list[Piece]:
    """The files of a part, of some groups if it comes in files of its own for each.

    Raises:
        DataError: if a server cannot be reached, or gives something else than what was published.
    """
    if part.hub:
        files = [f for f in list_files(part.hub) if _wanted(part, f.path, groups)]
        return [_piece(part, safe(f.path), (f.url,), groups, f.sha256) for f in files]
    if part.files:
        wanted = {name: url for name, url in part.files.items() if _wanted(part, name, groups)}
        return [_piece(part, name, (url,), None) for name, url in wanted.items()]
    return [_piece(part, PurePosixPath(urlsplit(part.url).path).name, (part.url, *part.mirrors), groups)]


def land(piece: Piece, folder: Path, ledger: Ledger, step: Step) -> str:
    """Get a file, and open it if it is an archive.

    What lies there already is not got again. Archives are removed once they are opened, unless they were put there by
    hand; a file whose hash is known from before must have it again.

    Args:
        piece: what to get.
        folder: the dataset's.
        ledger: of that folder.
        step: told of megabytes done, `Piece.megabytes` in all.

    Returns:
        what was done, in some words.

    Raises:
        DataError: if it cannot be had, or is not what it should be.
    """
    place = folder / piece.part.where
    key = f"{piece.part.key}/{piece.name}"
    if not piece.is_archive:
        return _land_file(piece, place / piece.name, key, ledger, step)
    if ledger.landed(key, piece.groups) and _missing(piece.part, folder) is None:
        return "there already"
    pick = Pick(piece.part.root, piece.part.skip, piece.part.group, piece.groups)
    archive = folder / "archives" / key
    in_parts = piece.in_parts and not archive.exists()
    if in_parts:
        places = _land_members(piece, place, key, ledger, pick, step)
    else:
        ours = _get_archive(piece, archive, key, ledger, step)
        places = unpack(archive, place, pick, lambda name, size: step(size / 1e6, name))
    _check(piece, folder, pick, places)
    ledger.land(key, piece.groups)
    if not in_parts and ours:
        archive.unlink()
        _remove_empty(archive.parent, folder)
    return f"{len(places)} files"


def _remove_empty(inner: Path, outer: Path) -> None:
    """Remove folders from the inner one up to the outer one, as far as nothing is in them."""
    while inner != outer and not any(inner.iterdir()):
        inner.rmdir()
        inner = inner.parent


def _wanted(part: Part, name: str, groups: frozenset[str] | None) -> bool:
    return groups is None or part.group_in(name) in groups


def _piece(part: Part, name: str, urls: tuple[str, ...], groups: frozenset[str] | None, sha256: str = "") -> Piece:
    """The file, from the first of its addresses that works."""
    for number, url in enumerate(urls):
        try:
            piece = Piece(part, name, probe(url), groups, sha256)
            break
        except DataError as error:
            if number == len(urls) - 1:
                raise DataError(
                    error.what, f"Look at {part.page} whether it has moved; or leave it out: only=[...]."
                ) from error
            log.warning("%s Its mirror is asked.", error.what)
    if piece.remote.page and piece.is_archive:
        raise DataError(f"{url} gives a web page instead of the archive.", f"Look at {part.page} whether it has moved.")
    size, published = piece.remote.size, part.gigabytes * 1e9
    if size and published and abs(size / published - 1) > TOLERANCE:
        raise DataError(
            f"{url} has {size / 1e9:.2f} GB, not {part.gigabytes:g} GB as published: this is something else.",
            f"Look at {part.page} what changed.",
        )
    return piece


def _land_file(piece: Piece, target: Path, key: str, ledger: Ledger, step: Step) -> str:
    if target.is_file():
        return "there already"
    room_for(target.parent, piece.bytes)
    digest = receive(piece.remote, target, piece.sha256 or ledger.sha256(key), _meter(step, piece.name))
    ledger.write(key, url=piece.remote.url, size=target.stat().st_size, sha256=digest)
    ledger.land(key, None)
    return "1 file"


def _get_archive(piece: Piece, archive: Path, key: str, ledger: Ledger, step: Step) -> bool:
    """Download an archive unless it is there; returns whether it is ours to remove."""
    known = piece.sha256 or ledger.sha256(key)
    if archive.exists():
        if known and sha256_of(archive) != known:
            raise DataError(f"'{archive}' has not the hash {known} that it should have.", "Remove it.")
        return bool(ledger.sha256(key))
    room_for(archive.parent, 2.1 * piece.bytes)  # what it unpacks to is hardly smaller
    digest = receive(piece.remote, archive, known, _meter(step, piece.name))
    ledger.write(key, url=piece.remote.url, size=archive.stat().st_size, sha256=digest)
    return True


def _land_members(piece: Piece, place: Path, key: str, ledger: Ledger, pick: Pick, step: Step) -> list[PurePosixPath]:
    before = ledger.entries.get(key, {})
    size, tag = before.get("size", piece.remote.size), before.get("tag", piece.remote.tag)
    if (size, tag) != (piece.remote.size, piece.remote.tag):
        raise DataError(
            f"{piece.remote.url} is another archive than at the first download.",
            f"Ask its owners; to mix both, remove '{key}' from '{ledger.file}'.",
        )
    ledger.write(key, url=piece.remote.url, size=piece.remote.size, tag=piece.remote.tag)
    told, check = (lambda name, size: step(size / 1e6, name)), (lambda need: room_for(place, need))
    return unpack_remote(piece.remote, place, pick, told, check)[0]


def _check(piece: Piece, folder: Path, pick: Pick, places: list[PurePosixPath]) -> None:
    """That the archive held what it should."""
    found = {pick.group_of(place) for place in places}
    lacking = sorted((piece.groups or frozenset()) - found)
    if lacking or not places:
        raise DataError(
            f"{piece.name} holds nothing of {', '.join(lacking) or piece.part.what}.",
            f"Look at {piece.part.page} what it holds.",
        )
    missing = _missing(piece.part, folder)
    if missing:
        raise DataError(f"{piece.name} was opened, and yet there is no '{missing}' in '{folder}'.", "It has changed.")


def _missing(part: Part, folder: Path) -> str | None:
    """A pattern of files that are not there though they should be."""
    return next((pattern for pattern in part.expects if next(folder.glob(pattern), None) is None), None)


def _meter(step: Step, name: str) -> Told:
    """Steps of megabytes out of counts of all bytes there are."""
    before = [0]

    def told(done: int, total: int | None) -> None:
        step((done - before[0]) / 1e6, name)
        before[0] = done

    return told
