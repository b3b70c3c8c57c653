"""Which mesh files a ``source=`` means, and what each is called: its class and its model."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from recon.errors import ConfigError
from recon.io.splits import is_name

MESHES = (".obj", ".off", ".ply", ".stl", ".glb")
# Names that say nothing, as in ShapeNet's <class>/<id>/models/model_normalized.obj and ModelNet's <class>/train.
HOLLOW = {"model", "models", "model_normalized", "mesh", "meshes", "train", "test", "val"}
MANY = 1000  # alternatives in braces


def find_meshes(source: str | None) -> list[Path]:
    """The mesh files that a source means, sorted, none twice.

    Args:
        source: a file, a folder (with all below it), a glob in which ``{obj,ply}`` gives alternatives, ``@list.txt``.

    Raises:
        ConfigError: if there is no source, or it names no file.
    """
    if source is None:
        raise ConfigError("prepare: there is nothing to make data from.", "Add source='meshes/**/*.{obj,ply,off,stl}'.")
    root = Path(source).expanduser()
    if source.startswith("@") and not root.exists():
        found = _listed(Path(source[1:]).expanduser())
    elif root.is_dir():
        found = [f for f in root.rglob("*") if f.suffix.lower() in MESHES and f.is_file()]
    elif root.exists():
        found = [root]
    else:
        patterns = alternatives(str(root))
        found = [f for pattern in patterns for f in map(Path, glob.glob(pattern, recursive=True)) if f.is_file()]
    if not found:
        known = f"Files of these formats are read: {' '.join(MESHES)}. Put quotes around patterns."
        raise ConfigError(f"source={source}: this names no mesh.", known)
    return sorted(set(found))


def alternatives(pattern: str) -> list[str]:
    """All patterns that one with braces stands for: ``a.{b,c}`` is ``a.b`` and ``a.c``; they may be nested.

    Raises:
        ConfigError: if there are more than a thousand.
    """
    todo, done = [pattern], []
    while todo:
        first = todo.pop()
        inner = re.search(r"\{([^{}]*,[^{}]*)\}", first)
        if inner is None:
            done.append(first)
        else:
            todo += [first[: inner.start()] + part + first[inner.end() :] for part in inner[1].split(",")]
        if len(todo) + len(done) > MANY:
            raise ConfigError(f"source={pattern}: its braces have too many alternatives.", "Give a list: @list.txt.")
    return sorted(set(done))


def named(files: Sequence[Path], category: str | None = None) -> dict[tuple[str, str], Path]:
    """(class, model) of every file: the names of its folder and its own, or of the first above that say something.

    Models of one class that share a name get their suffix, or else a number.

    Args:
        files: sorted.
        category: the class of all of them, instead.
    """
    labels = [_label(file, category) for file in files]
    shared = Counter(labels)
    names: dict[tuple[str, str], Path] = {}
    for file, (group, model) in zip(files, labels, strict=True):
        key = (group, model if shared[group, model] == 1 else f"{model}_{file.suffix[1:].lower()}")
        number = 1
        while key in names:
            number += 1
            key = (group, f"{model}_{number}")
        names[key] = file
    return names


def _listed(path: Path) -> list[Path]:
    """The files of a list, one a line, relative ones from where it lies; lines may be empty or start with ``#``."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"source=@{path}: this list cannot be read ({error}).", "Give a path a line.") from error
    files = [path.parent / Path(line.strip()).expanduser() for line in lines if line.strip() and line[0] != "#"]
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise ConfigError(
            f"source=@{path}: '{missing[0]}' is not there ({len(missing)} of {len(files)} are missing).",
            "Give paths relative to the list's own folder, or absolute ones.",
        )
    return files


def _label(file: Path, category: str | None) -> tuple[str, str]:
    parts = [*file.resolve().parent.parts[1:], file.stem]
    telling = [p for p in parts if p.lower() not in HOLLOW] or [file.stem]
    group = category or (telling[-2] if len(telling) > 1 else "meshes")
    return _fit(group), _fit(telling[-1])


def _fit(name: str) -> str:
    """A name fit for a folder on any system."""
    name = re.sub(r"[^\w.+-]", "_", name).strip(".")[:120] or "_"
    return name if is_name(name) else "_"
