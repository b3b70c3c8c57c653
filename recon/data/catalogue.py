"""`recon prepare data=NAME` without a source: what is published is shown with size and licence, then downloaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from recon.data.catalogue_entries import CATALOGUE, Part
from recon.data.landing import Piece, Step, land, pieces_of
from recon.data.stanford import SCANS, Stanford
from recon.errors import ConfigError, did_you_mean
from recon.io.ledger import claimed

Progress = Callable[[float | None, str], AbstractContextManager[Step]]
WIDTH = 120  # of the table where there is no terminal


def silent(total: float | None, title: str) -> AbstractContextManager[Step]:
    """A `Progress` that tells nothing."""
    return nullcontext(lambda steps, note: None)


@dataclass(frozen=True)
class Choice:
    """A part that is wanted, and its groups (classes, scenes); None: all of them."""

    part: Part
    groups: frozenset[str] | None


def download(name: str, path: Path, only: Sequence[str] | None, accept: bool, progress: Progress = silent) -> None:
    """Show what is published of a dataset, ask, and download it to its folder.

    What is there already stays; what was broken off goes on. See `recon.data.landing.land`.

    Args:
        name: of the dataset.
        path: its folder.
        only: parts, classes or scenes wanted; None: what a method needs.
        accept: do not ask.
        progress: a function of (megabytes, title) that gives a context with a meter, as `recon.report.progress`.

    Raises:
        ConfigError: if nothing is published, a word of `only` is unknown, or nobody accepts.
        DataError: if something cannot be had.
    """
    choices = choose(name, only)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
    scans = _scans(choices)
    pieces = [
        piece for choice in choices if not _is_scans(choice.part) for piece in pieces_of(choice.part, choice.groups)
    ]
    console.print(_table(path, pieces, scans))
    _agree(path, accept, console)
    for scan in scans:
        file = Stanford(path=str(path)).fetch(scan)
        console.print(f"{scan}: {file}", markup=False, highlight=False, soft_wrap=True)
    with claimed(path) as ledger:
        for piece in pieces:
            with progress(piece.megabytes, piece.name) as step:
                done = land(piece, path, ledger, step)
            where = path / piece.part.where
            console.print(f"{piece.name}: {done} in {where}", markup=False, highlight=False, soft_wrap=True)


def choose(name: str, only: Sequence[str] | None) -> list[Choice]:
    """Which parts are wanted, and which of their groups.

    Raises:
        ConfigError: if nothing is published of these data, or not by these words.
    """
    parts = parts_of(name)
    if not parts:
        known = ", ".join(sorted(CATALOGUE))
        raise ConfigError(f"prepare: nothing is downloaded for data={name}.", f"Downloaded is something for: {known}.")
    keys = list(dict.fromkeys(part.key for part in parts))
    words = list(only or ())
    asked = [word for word in words if word in keys]
    groups = [word for word in words if word not in keys]
    wanted = [part for part in parts if (part.key in asked if asked else part.default)]
    for word in groups:
        if all(part.group_in(word) is None for part in wanted):
            names = [*keys, *(label for part in wanted for label in part.names)]
            raise ConfigError(f"prepare: nothing of data={name} is called '{word}'.", did_you_mean(word, names))
    chosen = []
    for part in wanted:
        if not (part.url or part.files or part.hub or _is_scans(part)):
            raise ConfigError(
                f"prepare: {part.what} cannot be downloaded from here ({part.licence})",
                f"Get them at {part.page}; `data={name}` reads what is in data.path=FOLDER.",
            )
        found = frozenset(group for word in groups if (group := part.group_in(word)) is not None)
        if found or not (groups and part.group):
            chosen.append(Choice(part, found or None))
    return chosen


def parts_of(name: str) -> tuple[Part, ...]:
    """All that is published of a dataset."""
    return (*((SCANS_PART,) if name == "stanford" else ()), *CATALOGUE.get(name, ()))


def _is_scans(part: Part) -> bool:
    return part is SCANS_PART


def _scans(choices: Sequence[Choice]) -> list[str]:
    """Names of scans that `recon.data.stanford` fetches; all of Stanford's if none is named."""
    for choice in choices:
        if _is_scans(choice.part):
            return [n for n, s in SCANS.items() if (n in choice.groups if choice.groups else s.page)]
    return []


def _table(path: Path, pieces: Sequence[Piece], scans: Sequence[str]) -> Table:
    table = Table(show_lines=True)
    for title in ("what", "size", "licence", "cite", "goes to"):
        table.add_column(title, overflow="fold")
    if scans:
        size = sum({SCANS[scan].page: SCANS[scan].megabytes for scan in scans}.values())
        what = f"{SCANS_PART.what}: {', '.join(scans)}"
        table.add_row(what, f"about {size:g} MB", SCANS_PART.licence, SCANS_PART.cite, str(path))
    for part in dict.fromkeys(id(piece.part) for piece in pieces):
        own = [piece for piece in pieces if id(piece.part) == part]
        one = own[0].part
        groups = own[0].groups
        some = f"\nonly {', '.join(sorted(groups))}" if groups else ""
        table.add_row(one.what + some, _size(own), one.licence, one.cite, str(path / one.where))
    return table


def _size(pieces: Sequence[Piece]) -> str:
    if any(not piece.bytes for piece in pieces):
        return "not stated"
    total = sum(piece.bytes for piece in pieces) / 1e9
    text = f"{total:.1f} GB" if total >= 1 else f"{total * 1e3:.1f} MB"
    if pieces[0].in_parts:
        return f"a part of {text}"
    whole = pieces[0].groups is not None and pieces[0].is_archive and len(pieces) == 1
    return f"{text}\n(its server gives it only as a whole)" if whole else text


def _agree(path: Path, accept: bool, console: Console) -> None:
    """Ask, if there is somebody to ask."""
    if accept:
        return
    if not sys.stdin.isatty():
        raise ConfigError("prepare: nobody is here to agree to this download.", "If you do, add accept=true.")
    console.print(f"Download this to {path}? \\[y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("prepare: nothing was downloaded.", "Choose parts with only=[...], or answer y.")


SCANS_PART = Part(
    "scans",
    "scans of the Stanford repository and of the surface reconstruction benchmark",
    "https://graphics.stanford.edu/data/3Dscanrep",
    "Stanford: for research, with credit; the benchmark: stated nowhere.",
    "the Stanford 3D Scanning Repository; Berger et al., A Benchmark for Surface Reconstruction, 2013.",
    default=True,
    group="|".join(SCANS),
    names={name: name for name in SCANS},
)
