"""``downloads.json``: what was downloaded into a folder, from where, and the hashes that later downloads must have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recon.errors import ConfigError, DataError
from recon.io.files import write_text
from recon.io.transfer import HASH

try:
    import fcntl
except ImportError:  # a system without file locks: two downloads at once are then the user's to avoid
    fcntl = None  # type: ignore[assignment]

NAME = "downloads.json"
ALL = "all"


class Ledger:
    """The file, read once and written after each change.

    Args:
        folder: where it lies.

    Raises:
        DataError: if it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self.entries: dict[str, dict[str, Any]] = {}
        if self.file.is_file():
            try:
                self.entries = json.loads(self.file.read_text(encoding="utf-8"))
                good = all(
                    isinstance(e, dict) and HASH.fullmatch(e.get("sha256", "0" * 64)) for e in self.entries.values()
                )
            except (OSError, ValueError, AttributeError, TypeError):
                good = False
            if not good:
                raise DataError(f"'{self.file}' is damaged.", "Remove it; hashes of earlier downloads are then lost.")

    def sha256(self, name: str) -> str:
        """The hash that a file had when it was first downloaded; empty if that never happened."""
        return str(self.entries.get(name, {}).get("sha256", ""))

    def landed(self, name: str, groups: frozenset[str] | None) -> bool:
        """Whether a file, or all of these groups of an archive, are there."""
        there = set(self.entries.get(name, {}).get("landed", []))
        return ALL in there or (groups is not None and bool(groups) and groups <= there)

    def write(self, name: str, **facts: Any) -> None:
        """Note facts of a file, beside what is known of it."""
        self.entries.setdefault(name, {}).update(facts)
        write_text(self.file, json.dumps(self.entries, indent=1) + "\n")

    def land(self, name: str, groups: frozenset[str] | None) -> None:
        """Note that a file, or these groups of an archive, are there."""
        there = {*self.entries.get(name, {}).get("landed", []), *(groups if groups is not None else [ALL])}
        self.write(name, landed=sorted(there))

    def forget(self, name: str) -> None:
        """Note that what was there is gone; its hash is kept."""
        self.write(name, landed=[])


@contextmanager
def claimed(folder: Path) -> Iterator[Ledger]:
    """The ledger of a folder, for one process at a time.

    Raises:
        ConfigError: if another one downloads into the same folder.
        DataError: as `Ledger`, and if the folder cannot be written to.
    """
    lock = folder / ".downloads.lock"
    if not lock.exists():
        write_text(lock, "")
    with lock.open("r+") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"'{folder}': another download is at work here.", "Let it finish first.") from error
        yield Ledger(folder)
