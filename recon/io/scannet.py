"""The small files of a ScanNet scene: matrices, scene.txt, labels, and which vertices belong to which object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError
from recon.io.parsing import FormatError, text_lines

AGAIN = "Export or download this file again."
LONGEST = 1 << 16  # characters of a matrix's file


@dataclass(frozen=True)
class Group:
    """An annotated object.

    Attributes:
        object_id: counted from 0; instance images show it as ``object_id + 1``.
        label: the raw category, e.g. ``"office chair"``.
        segments: numbers of its segments.
    """

    object_id: int
    label: str
    segments: tuple[int, ...]


@dataclass(frozen=True)
class Label:
    """One line of scannetv2-labels.combined.tsv: the raw category and its number among NYU's 40 (0: none)."""

    raw: str
    nyu40: int


def read_matrix(path: str | Path) -> np.ndarray:
    """(4, 4) float64 of a text file; -inf and nan, which mean a lost pose, are read as they are.

    Raises:
        DataError: naming the file if it is missing or holds no sixteen numbers.
    """
    path = Path(path)
    text = _text(path)
    try:
        if len(text) > LONGEST:
            raise FormatError(f"it has {len(text)} characters")
        return matrix(text.split())
    except FormatError as error:
        raise DataError(f"'{path}': {error}.", "A 4 x 4 matrix is wanted, as text.") from error


def matrix(words: Sequence[str]) -> np.ndarray:
    """(4, 4) float64 of sixteen numbers, row by row.

    Raises:
        FormatError: if they are not.
    """
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise FormatError(f"a number cannot be read ({str(error)[:60]})") from error
    if len(values) != 16:
        raise FormatError(f"it holds {len(values)} numbers, not 16")
    return values.reshape(4, 4)


def read_scene_text(path: str | Path) -> dict[str, str]:
    """The lines ``key = value`` of a scene's text file; lines of another kind are left alone.

    Raises:
        DataError: if it cannot be read.
    """
    pairs = (line.partition("=") for line in text_lines(_text(Path(path)).encode("latin-1", "replace")))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def read_axis_alignment(path: str | Path) -> np.ndarray:
    """(4, 4) float64, the rigid motion that turns a scan to its room's axes; the identity where the file has none.

    Raises:
        DataError: naming file and field if the matrix is none, or no rigid motion.
    """
    written = read_scene_text(path).get("axisAlignment")
    if written is None:
        return np.eye(4)
    try:
        found, valid = rigid(matrix(written.split()))
        if not valid:
            raise FormatError("it is no rotation and translation")
    except FormatError as error:
        raise DataError(f"'{path}': field 'axisAlignment': {error}.", AGAIN) from error
    return found


def rigid(matrices: np.ndarray, tolerance: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Poses as they were before they were rounded for a file.

    Args:
        matrices: (..., 4, 4), some of them perhaps not finite.
        tolerance: how far the left 3x3 part may stretch or shrink.

    Returns:
        (..., 4, 4) float64 with the nearest proper rotations, and (...) bool: False for a matrix that is not finite,
        mirrors, or is no rigid motion, whose place the identity takes.
    """
    finite = np.isfinite(matrices).all(axis=(-2, -1)) & (np.abs(np.nan_to_num(matrices)) < 1e9).all(axis=(-2, -1))
    known = np.where(finite[..., None, None], matrices, np.eye(4))
    left, stretch, right = np.linalg.svd(known[..., :3, :3])
    rotation = left @ right
    last = np.abs(known[..., 3, :] - (0, 0, 0, 1)).max(axis=-1)
    valid = finite & (np.abs(stretch - 1).max(axis=-1) < tolerance) & (last < 1e-3) & (np.linalg.det(rotation) > 0)
    poses = np.zeros(known.shape)
    poses[..., :3, :3], poses[..., :3, 3], poses[..., 3, 3] = rotation, known[..., :3, 3], 1.0
    return np.where(valid[..., None, None], poses, np.eye(4)), valid


def read_labels(path: str | Path) -> dict[int, Label]:
    """scannetv2-labels.combined.tsv: what the numbers of label images mean.

    Raises:
        DataError: naming file and line if the table is none.
    """
    path = Path(path)
    rows = [line.split("\t") for line in _text(path).splitlines() if line.strip()]
    try:
        number, raw, nyu = (rows[0].index(name) for name in ("id", "raw_category", "nyu40id"))
        return {int(row[number]): Label(row[raw], int(row[nyu] or 0)) for row in rows[1:]}
    except (ValueError, IndexError) as error:
        raise DataError(f"'{path}': it is no table of labels ({str(error)[:80]}).", AGAIN) from error


def read_aggregation(path: str | Path) -> list[Group]:
    """The annotated objects of ``<scene>.aggregation.json``.

    Raises:
        DataError: naming file and field.
    """
    groups = _json(path, "segGroups")
    try:
        return [Group(_index(g["objectId"]), str(g["label"]), tuple(_index(s) for s in g["segments"])) for g in groups]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}': field 'segGroups': {type(error).__name__} at {error}.", AGAIN) from error


def read_segments(path: str | Path) -> np.ndarray:
    """(V,) int64 number of the segment of each vertex, from ``<scene>_vh_clean_2.0.010000.segs.json``.

    Raises:
        DataError: naming file and field.
    """
    values = _json(path, "segIndices")
    try:
        return np.array([_index(value) for value in values], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise DataError(f"'{path}': field 'segIndices': {error}.", AGAIN) from error


def instance_vertices(groups: Sequence[Group], segments: np.ndarray) -> dict[int, np.ndarray]:
    """Which vertices belong to each object.

    Args:
        groups: the objects.
        segments: (V,) number of each vertex's segment.

    Returns:
        (n,) sorted int64 vertex numbers by `Group.object_id`; objects may share some.
    """
    order = np.argsort(segments, kind="stable")
    numbers, starts = np.unique(segments[order], return_index=True)
    members = dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=False))
    none = np.zeros(0, dtype=np.int64)
    found: dict[int, np.ndarray] = {}
    for group in groups:
        parts = [found.get(group.object_id, none), *(members.get(s, none) for s in group.segments)]
        found[group.object_id] = np.unique(np.concatenate(parts))
    return found


def numbered(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
    """Files of a folder whose stems are numbers (``12.jpg``, ``0012.png``), in the order of the numbers.

    Of several of one number it is the last by name. A folder that is not there holds none.
    """
    if not folder.is_dir():
        return {}
    files = (f for f in sorted(folder.iterdir()) if f.suffix.lower() in suffixes)
    found = {int(f.stem): f for f in files if f.stem.isascii() and f.stem.isdecimal() and len(f.stem) < 18}
    return dict(sorted(found.items()))


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise ValueError(f"'{str(value)[:40]}' is not a number counted from 0")
    return value


def _json(path: str | Path, field: str) -> list[Any]:
    try:
        whole = json.loads(_text(Path(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}': it is no readable json ({str(error)[:80]}).", AGAIN) from error
    found = whole.get(field) if isinstance(whole, dict) else None
    if not isinstance(found, list):
        raise DataError(f"'{path}': field '{field}': there is no such list.", AGAIN)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"'{path}': {error.strerror}.", "Check the path.") from error
