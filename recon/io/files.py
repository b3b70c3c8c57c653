"""Whole files or none: whatever is written appears under its name only once it is complete."""

from __future__ import annotations

import csv
import errno
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recon.errors import DataError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; it takes the name `path` when the block succeeds.

    Missing folders are made. When the block raises, the temporary file is removed and an older `path` stays.

    Raises:
        DataError: if the folder cannot be made or written to, or `path` is a folder.
    """
    target = Path(path)
    # A fresh name rather than a fixed one, so that two writers never share a half-written file.
    temporary = target.with_name(f".{target.stem[:80]}.{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        # The block may do other work that fails; only what concerns this file is the user's to mend here.
        if error.filename == str(temporary) or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(target, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> DataError:
    return DataError(
        f"Cannot write '{target}': {error.strerror or error}.",
        "Check that the folder exists, may be written to, and has room.",
    )


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line a row, whole or not at all; the header is every key, in order of first appearance."""
    rows = list(rows)
    header = list(dict.fromkeys(key for row in rows for key in row))
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, header, restval="")
        writer.writeheader()
        writer.writerows(rows)
