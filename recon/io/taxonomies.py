"""Which classes ShapeNet's renderings have, and which of their models train, validate and test: files of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from recon.io.parsing import FormatError
from recon.io.renderings import read_parsed
from recon.io.splits import is_name

CLASSES = {
    "02691156": "airplane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "display",
    "03636649": "lamp",
    "03691459": "loudspeaker",
    "04090263": "rifle",
    "04256520": "sofa",
    "04379243": "table",
    "04401088": "telephone",
    "04530566": "watercraft",
}
"""The 13 of the papers."""
Splits = dict[str, dict[str, list[str]]]
"""Models of each split, of each class: ``splits["train"]["02691156"]``."""
NAMES: tuple[Literal["train"], Literal["val"], Literal["test"]] = ("train", "val", "test")


def read_taxonomy(path: str | Path) -> dict[str, str]:
    """Names of classes by their ids, in the file's order.

    Known are R2N2's object ``{id: {"id", "name"}}``, ShapeNet's and Pix2Vox's lists of objects, and ``{id: name}``.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    return read_parsed(path, parse_taxonomy)


def read_splits(path: str | Path) -> Splits:
    """Models of each split and class.

    Known are Pix2Vox's list of ``{"taxonomy_id", "train", "val", "test"}``, and an object
    ``{"train": ["id/model", ...], "val": ..., "test": ...}``; without ``val``, it is ``test``.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    return read_parsed(path, parse_splits)


def parse_taxonomy(text: str) -> dict[str, str]:
    """See `read_taxonomy`.

    Raises:
        FormatError: if it is none.
    """
    content = _json(text)
    if isinstance(content, dict):
        pairs = [(key, value.get("name") if isinstance(value, dict) else value) for key, value in content.items()]
    elif isinstance(content, list) and all(isinstance(entry, dict) for entry in content):
        pairs = [
            (entry.get("taxonomy_id", entry.get("synsetId")), entry.get("taxonomy_name", entry.get("name")))
            for entry in content
        ]
    else:
        pairs = []
    names = {key: name.split(",")[0].strip() for key, name in pairs if isinstance(key, str) and isinstance(name, str)}
    if not pairs or len(names) < len(pairs):
        raise FormatError("classes: expected {id: {'id': ..., 'name': ...}, ...}")
    for key in names:
        _check_name(key, "classes")
    return names


def parse_splits(text: str) -> Splits:
    """See `read_splits`.

    Raises:
        FormatError: if it is none.
    """
    content = _json(text)
    if isinstance(content, list):
        return {name: {_class_of(entry): _models(entry, name) for entry in content} for name in NAMES}
    if not isinstance(content, dict) or not {"train", "test"} <= content.keys():
        raise FormatError("splits: expected 'train', 'val' and 'test', each a list of 'id/model'")
    return {name: _by_class(_models(content, name if name in content else "test")) for name in NAMES}


def _by_class(paths: Sequence[str]) -> dict[str, list[str]]:
    models: dict[str, list[str]] = {}
    for path in paths:
        name, slash, model = path.partition("/")
        if not slash or "/" in model:
            raise FormatError(f"splits: '{path[:40]}' is not 'id/model'")
        models.setdefault(name, []).append(model)
    return models


def _class_of(entry: object) -> str:
    name = entry.get("taxonomy_id") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise FormatError("splits: an entry has no 'taxonomy_id'")
    _check_name(name, "splits")
    return name


def _models(entry: Mapping[str, Any], name: str) -> list[str]:
    models = entry.get(name)
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise FormatError(f"splits: '{name}' is not a list of names")
    for model in models:
        for part in model.split("/"):
            _check_name(part, "splits")
    return models


def _check_name(name: str, what: str) -> None:
    """Names become paths below a folder, and must not lead out of it."""
    if not is_name(name):
        raise FormatError(f"{what}: '{name[:40]}' is no name of a file")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is not JSON: {str(error)[:80]}") from error
