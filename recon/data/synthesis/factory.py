"""`Factory`: the base of all that `recon prepare` makes from meshes, item by item, in parallel, resumable.

An item is made in a temporary folder, which takes its place only when it is whole, and is then recorded; a run that
was killed goes on with the items that have no record. An item's draws depend on the seed and its name alone, so that
neither the number of processes nor a restart changes a byte.
"""

from __future__ import annotations

import shutil
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol, TypedDict, Unpack

import numpy as np

from recon.data.synthesis import parallel, records
from recon.data.synthesis.summary import SHOWN, write_summary
from recon.errors import ConfigError, DataError, did_you_mean


class Shared(TypedDict, total=False):
    """Options of every factory; `Factory` explains them, conf/prepare/_shared.yaml gives their defaults."""

    source: str | None
    path: str | None
    kind: str | None
    workers: int | None
    seed: int


DEFAULTS: Shared = {"source": None, "path": None, "kind": None, "workers": None, "seed": 0}


@dataclass(frozen=True)
class Item:
    """One thing to make.

    Attributes:
        name: unique, made of parts fit for folders, e.g. ``"chair/0890"``; seeds its draws.
        source: the file it is made from, if it is one.
        folder: where its files go, relative to the factory's path.
        places: sub-folders of what `make` writes that go elsewhere, each to a folder relative to the factory's path.
    """

    name: str
    source: Path | None
    folder: str
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """An item that was made.

    Attributes:
        name: the item's.
        facts: what to tell of it: texts, numbers, true or false.
        thumbnail: (H, W, 3) uint8 picture for the summary, or None.
    """

    name: str
    facts: dict[str, Any]
    thumbnail: np.ndarray | None = None


@dataclass(frozen=True)
class Rejected:
    """An item that could not be made, and why."""

    name: str
    reason: str


class Step(Protocol):
    """What tells of progress: called with the number of steps just done and a note."""

    def __call__(self, steps: float = 1, note: str = "") -> None: ...


Progress = Callable[[float | None, str], AbstractContextManager[Step]]


def silent(total: float | None, title: str) -> AbstractContextManager[Step]:
    """A `Progress` that tells nothing."""
    return nullcontext(lambda steps=1, note="": None)


class Factory:
    """Base of all factories: a subclass says which items there are, makes one, and closes the set.

    Every option of a subclass is kept as an attribute of the same name (`options` reads them there).

    Class attributes:
        kinds: the variants that ``kind=`` may name, the first being the default; empty where there is but one.

    Args:
        source: a file, a folder, a glob (braces, too) or ``@list.txt`` of meshes.
        path: the folder that the data are made in.
        kind: which layout or variant, one of `kinds`; None is the first.
        workers: processes; 0 works in this one, None takes all cores.
        seed: of all draws; an item's is (seed, its name).

    Raises:
        ConfigError: if the path is missing or the kind is unknown.
    """

    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **shared: Unpack[Shared]) -> None:
        options: Shared = {**DEFAULTS, **shared}
        self.source, self.seed, self.workers = options["source"], options["seed"], options["workers"]
        path, kind = options["path"], options["kind"]
        if path is None:
            raise ConfigError("prepare: there is no folder to make the data in.", "Add data.path=FOLDER.")
        if kind is not None and kind not in self.kinds:
            known = did_you_mean(kind, self.kinds) if self.kinds else "Leave kind= out: these data have but one kind."
            raise ConfigError(f"kind={kind}: there is no such kind of these data.", known)
        self.path = Path(path).expanduser()
        self.kind = kind or (self.kinds[0] if self.kinds else None)

    def items(self) -> Sequence[Item]:
        """All that there is to make, in order; cheap.

        Raises:
            ConfigError: if the source is missing or names nothing.
        """
        raise NotImplementedError

    def make(self, item: Item, folder: Path) -> Made:
        """Write all files of an item into `folder`, which is empty; runs in any process, in any order.

        Raises:
            DataError: if it cannot be made; the item is rejected with that reason and the others go on.
        """
        raise NotImplementedError

    def finish(self, made: Sequence[Made]) -> None:
        """Write what closes the set (splits, metadata) for all items there are now, in order."""

    def rng(self, item: Item) -> np.random.Generator:
        """The generator of an item's draws."""
        return np.random.default_rng([self.seed, zlib.crc32(item.name.encode())])

    def options(self) -> dict[str, Any]:
        """What the data depend on: all options but the number of processes and the path itself."""
        names = [n for n in records.signature(type(self)) if n not in ("path", "workers")]
        return {name: records.plain(getattr(self, name)) for name in names}

    def run(self, progress: Progress = silent) -> tuple[list[Made], list[Rejected]]:
        """Make all items that are not there yet, then close the set and write `summary.html`.

        Args:
            progress: a function of (steps, title) that gives a context with a meter, as `recon.report.progress`.

        Returns:
            what there is now (the first with their thumbnails), and what was rejected, both in order.

        Raises:
            ConfigError: if the path holds other data, or the same with other options.
            DataError: if nothing at all could be made.
        """
        items = _checked(self.items())
        with records.claimed(self.path, self.options()) as book:
            found = {i.name: book.read(i, self.path) for i in items}
            done = {name: record for name, record in found.items() if record is not None}
            todo = [i for i in items if i.name not in done]
            rejected: dict[str, Rejected] = {}
            with progress(len(items), "prepare") as meter:
                if done:
                    meter(len(done), f"{len(done)} were there")
                for item, outcome in parallel.each(self._one, todo, self.workers):
                    if isinstance(outcome, Made):
                        done[item.name] = outcome
                    else:
                        rejected[item.name] = Rejected(item.name, outcome.reason)
                    meter(1, f"{len(rejected)} rejected" if rejected else "")
            whole = [i for i in items if i.name in done]
            made = [book.with_picture(i, done[i.name]) for i in whole[:SHOWN]] + [done[i.name] for i in whole[SHOWN:]]
            left = [rejected[i.name] for i in items if i.name in rejected]
            self._close(made, left)
        return made, left

    def _close(self, made: Sequence[Made], rejected: Sequence[Rejected]) -> None:
        if made:
            self.finish(made)
        write_summary(self.path / "summary.html", self.path.name, self.options(), made, rejected)
        if not made:
            raise DataError(
                f"None of {len(rejected)} items could be made. The first: {rejected[0].reason}",
                f"All reasons are in {self.path / 'summary.html'}.",
            )

    def _one(self, item: Item) -> Made | parallel.Failed:
        """Make one item beside its place, move it there whole, and record it."""
        scratch = records.scratch(self.path) / uuid.uuid4().hex
        folder = scratch / "item"
        folder.mkdir(parents=True)
        try:
            made = self.make(item, folder)
            for part, place in item.places.items():
                _land(folder / part, self.path / place)
            _land(folder, self.path / item.folder)
            return records.Book(self.path).write(item, made)
        except DataError as error:
            return parallel.Failed(error.what)
        except MemoryError:
            return parallel.Failed("It needs more memory than there is.")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _land(made: Path, place: Path) -> None:
    """Move a folder to its place; what an unrecorded, broken-off run left there goes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    made.replace(place)


def _checked(items: Sequence[Item]) -> Sequence[Item]:
    """The items, if their names are unique and all their places lie below the path."""
    names: set[str] = set()
    for item in items:
        for text in (item.name, item.folder, *item.places.values()):
            parts = PurePosixPath(text)
            if parts.is_absolute() or not parts.parts or {"..", records.HIDDEN} & set(parts.parts):
                raise ValueError(f"{text!r} is no folder below the data's path")
        if item.name in names:
            raise ValueError(f"two items are called {item.name!r}")
        names.add(item.name)
    return items
