"""Which models there are and what their classes are called: ``*.lst`` and ``metadata.yaml`` of Occupancy Networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from recon.errors import DataError
from recon.io.files import write_text

LARGEST_LIST = 1 << 26  # bytes
LARGEST_METADATA = 1 << 17  # far less, for YAML is slow to read
LONGEST_NAME = 200


def read_list(path: str | Path) -> list[str]:
    """Names of a ``*.lst`` file, one a line, in order; empty lines and repetitions are left out.

    Raises:
        DataError: if it is missing, no text, or has a line that cannot be the name of a folder.
    """
    lines = _text(Path(path), LARGEST_LIST, "Give one model's folder name a line.").split("\n")
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    for name in names:
        if not is_name(name):
            raise DataError(f"'{path}': '{name[:60]}' is no name of a folder.", "Give one model's folder name a line.")
    return names


def is_name(text: str) -> bool:
    """Whether this can be the name of one folder, here: nothing that leads elsewhere."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text not in (".", "..") and not set(text) & {*"/\\"}


def read_metadata(path: str | Path) -> dict[str, str]:
    """What classes are called, from ``{class id: {id: ..., name: 'airplane,plane'}}``: the first of their names.

    Raises:
        DataError: if it is missing or of another form.
    """
    wanted = "It maps a class's folder to its 'name'; without this file, folders name the classes."
    text = _text(Path(path), LARGEST_METADATA, wanted)
    try:
        # The base loader makes nothing but strings, lists and dicts: 02747177 stays a folder's name.
        classes = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"'{path}': it is no YAML ({reason}).", wanted) from error
    if not isinstance(classes, dict):
        raise DataError(f"'{path}': it holds no mapping of classes.", wanted)
    names: dict[str, str] = {}
    for key, entry in classes.items():
        name = entry.get("name", key) if isinstance(entry, dict) else None
        if not isinstance(key, str) or not isinstance(name, str):
            raise DataError(f"'{path}': class '{str(key)[:60]}': field 'name': it is no text.", wanted)
        names[key] = name.split(",")[0].strip() or key
    return names


def write_list(path: str | Path, names: Iterable[str]) -> None:
    """Write a ``*.lst`` file, whole or not at all."""
    write_text(path, "".join(f"{name}\n" for name in names))


def write_metadata(path: str | Path, names: Mapping[str, str]) -> None:
    """Write ``metadata.yaml`` from what each class is called, whole or not at all."""
    classes = {key: {"id": key, "name": name} for key, name in names.items()}
    write_text(path, yaml.safe_dump(classes, default_style='"', allow_unicode=True))


def _text(path: Path, largest: int, mend: str) -> str:
    try:
        if path.stat().st_size > largest:
            raise DataError(f"'{path}': it has more than {largest} bytes.", mend)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(f"'{path}': {reason}.", mend) from error
