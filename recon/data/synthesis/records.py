"""What a factory remembers in its folder: its options, which items are done, and that nobody else is at work."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from recon.errors import ConfigError
from recon.io.files import atomic, write_text

if TYPE_CHECKING:
    from recon.data.synthesis.factory import Item, Made

try:
    import fcntl
except ImportError:  # a system without file locks: two runs at once are then the user's to avoid
    fcntl = None  # type: ignore[assignment]

OPTIONS_FILE = "prepare.json"
HIDDEN = ".prepare"
THUMBNAIL = 160


class Book:
    """Records of finished items: ``<path>/.prepare/items/<name>.json``, and a thumbnail beside each."""

    def __init__(self, path: Path) -> None:
        self.folder = path / HIDDEN / "items"

    def write(self, item: Item, made: Made) -> Made:
        """Record an item; returns it as `read` will."""
        picture = made.thumbnail
        if picture is not None:
            image = Image.fromarray(np.ascontiguousarray(picture))
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            with atomic(self._file(item, ".png")) as temporary:
                image.save(temporary)
        facts = plain(made.facts)
        text = json.dumps({"facts": facts, "source": _stamp(item.source)}, indent=1)
        write_text(self._file(item, ".json"), text)
        return replace(made, facts=facts, thumbnail=None)

    def read(self, item: Item, path: Path) -> Made | None:
        """The record of an item, if it was made from the file as it is now and its folders are all there."""
        from recon.data.synthesis.factory import Made

        file = self._file(item, ".json")
        folders = [item.folder, *item.places.values()]
        if not file.is_file() or not all((path / folder).is_dir() for folder in folders):
            return None
        record = json.loads(file.read_text(encoding="utf-8"))
        return Made(item.name, record["facts"]) if record["source"] == _stamp(item.source) else None

    def with_picture(self, item: Item, made: Made) -> Made:
        """The same with its thumbnail, if it has one; not kept in memory before, for there may be 50,000."""
        file = self._file(item, ".png")
        return replace(made, thumbnail=np.asarray(Image.open(file).convert("RGB"))) if file.is_file() else made

    def _file(self, item: Item, suffix: str) -> Path:
        return self.folder / f"{item.name}{suffix}"


@contextmanager
def claimed(path: Path, options: Mapping[str, Any]) -> Iterator[Book]:
    """Hold the folder for one run with these options; what a broken-off run left half-made goes.

    Raises:
        ConfigError: if the folder holds other data, the same with other options, or another run is at work in it.
    """
    _ours(path)
    (path / HIDDEN).mkdir(parents=True, exist_ok=True)
    with (path / HIDDEN / "lock").open("w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"'{path}': another `prepare` is at work here.", "Let it finish first.") from error
        _settle(path, options)
        shutil.rmtree(scratch(path), ignore_errors=True)
        try:
            yield Book(path)
        finally:
            shutil.rmtree(scratch(path), ignore_errors=True)


def scratch(path: Path) -> Path:
    """Where items are made before they take their places: on the same disk, so that they move at once."""
    return path / HIDDEN / "scratch"


def _ours(path: Path) -> None:
    """Raise a ConfigError if this is no folder that `prepare` made, or may make."""
    mend = "Name another folder: data.path=FOLDER."
    if path.exists() and not path.is_dir():
        raise ConfigError(f"'{path}' is a file.", mend)
    if path.is_dir() and not (path / OPTIONS_FILE).is_file() and any(p.name != HIDDEN for p in path.iterdir()):
        raise ConfigError(f"'{path}' holds files that `prepare` did not make.", mend)


def _settle(path: Path, options: Mapping[str, Any]) -> None:
    """Note the options, or raise a ConfigError if something was made with others."""
    file = path / OPTIONS_FILE
    if file.is_file() and any(Book(path).folder.rglob("*.json")):
        _same(path, json.loads(file.read_text(encoding="utf-8")), options)
    else:
        write_text(file, json.dumps(options, indent=1) + "\n")


def _same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"'{path}' was made with {key}={before.get(key)}, not {key}={now.get(key)}.",
            "Give the same options to go on, or name another folder: data.path=FOLDER.",
        )


def _stamp(source: Path | None) -> list[int] | None:
    """Size and time of a file: another file of the same name is made afresh."""
    if source is None:
        return None
    status = source.stat()
    return [status.st_size, status.st_mtime_ns]


def signature(cls: type) -> list[str]:
    """The names of a factory's options, its own first, then the shared ones."""
    from recon.data.synthesis.factory import Shared

    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]
    return list(dict.fromkeys([*own, *Shared.__annotations__]))


def plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(cast(Any, value).tolist())
    if isinstance(value, Sequence):
        return [plain(v) for v in value]
    return value if isinstance(value, (int, float)) else str(value)
