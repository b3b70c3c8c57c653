"""ShapeNetRendering's text files: names of views and their cameras; taxonomies; lists of splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from recon.errors import DataError
from recon.io.parsing import FormatError, numbers
from recon.io.splits import is_name

SIDE = 137  # pixels
VIEWS = 24
FOCAL = (
    35 / 32
)  # of the image's side: Blender's lens of 35 mm before a sensor of 32 mm, a field of view of 49.1 degrees
FARTHEST = 1.75  # scene units; a file's distance is a share of it


@dataclass(frozen=True)
class Viewpoint:
    """One line of ``rendering_metadata.txt``.

    Attributes:
        azimuth: degrees, from +x towards +z (y is up).
        elevation: degrees above the plane y = 0.
        rotation: degrees about the optical axis; 0 in all published files.
        distance: of the camera from the origin, as a share of `FARTHEST`.
        field_of_view: 25 in all published files, half of what was rendered (see `FOCAL`); not used.
    """

    azimuth: float
    elevation: float
    rotation: float = 0.0
    distance: float = 0.8
    field_of_view: float = 25.0

    def pose(self) -> np.ndarray:
        """(4, 4) float64 camera to world, OpenCV axes (x right, y down, z forward); the world's y is up."""
        a, e, r = radians(self.azimuth), radians(self.elevation), radians(self.rotation)
        back = np.array([cos(a) * cos(e), sin(e), sin(a) * cos(e)])
        right = np.array([sin(a), 0.0, -cos(a)])
        down = np.cross(right, back)
        pose = np.eye(4)
        pose[:3, 0] = cos(r) * right + sin(r) * down
        pose[:3, 1] = cos(r) * down - sin(r) * right
        pose[:3, 2] = -back
        pose[:3, 3] = FARTHEST * self.distance * back
        return pose


def intrinsics(side: int = SIDE) -> np.ndarray:
    """(3, 3) float64 K in pixels of all views, pixel centres at integer + 0.5."""
    return np.array([[FOCAL * side, 0, side / 2], [0, FOCAL * side, side / 2], [0, 0, 1.0]])


Parsed = TypeVar("Parsed")
Splits = dict[str, dict[str, list[str]]]
"""Models of each split, of each class: ``splits["train"]["02691156"]``."""
NAMES: tuple[Literal["train"], Literal["val"], Literal["test"]] = ("train", "val", "test")


def read_viewpoints(path: str | Path) -> list[Viewpoint]:
    """The cameras of ``rendering_metadata.txt``, one a view.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    return _read(path, parse_viewpoints)


def read_view_names(path: str | Path) -> list[str]:
    """The files that ``renderings.txt`` lists.

    Raises:
        DataError: as `read_viewpoints`.
    """
    return _read(path, parse_view_names)


def read_taxonomy(path: str | Path) -> dict[str, str]:
    """Names of classes by their ids, in the file's order.

    Known are R2N2's object ``{id: {"id", "name"}}``, ShapeNet's and Pix2Vox's lists of objects, and ``{id: name}``.

    Raises:
        DataError: as `read_viewpoints`.
    """
    return _read(path, parse_taxonomy)


def read_splits(path: str | Path) -> Splits:
    """Models of each split and class.

    Known are Pix2Vox's list of ``{"taxonomy_id", "train", "val", "test"}``, and an object
    ``{"train": ["id/model", ...], "val": ..., "test": ...}``; without ``val``, it is ``test``.

    Raises:
        DataError: as `read_viewpoints`.
    """
    return _read(path, parse_splits)


def format_viewpoints(views: Sequence[Viewpoint]) -> str:
    """The text of ``rendering_metadata.txt``; what is read back is the same."""
    return "".join(" ".join(repr(float(value)) for value in astuple(view)) + "\n" for view in views)


def parse_viewpoints(text: str) -> list[Viewpoint]:
    """See `read_viewpoints`.

    Raises:
        FormatError: if a line is not five finite numbers, or a distance is not positive.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    rows = numbers(lines, "cameras")
    if not lines or rows.shape[1] != 5:
        raise FormatError("cameras: a line is five numbers: azimuth, elevation, rotation, distance, field of view")
    bad = ~np.isfinite(rows).all(axis=1) | (rows[:, 3] <= 0)
    if bad.any():
        raise FormatError(f"cameras: line {np.argmax(bad) + 1}, '{lines[np.argmax(bad)][:60]}', is no camera")
    return [Viewpoint(*row) for row in rows.tolist()]


def parse_view_names(text: str) -> list[str]:
    """See `read_view_names`.

    Raises:
        FormatError: if there are none, one twice, or one outside the folder.
    """
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise FormatError("names of views: none, or one of them twice")
    for name in names:
        _check_name(name, "names of views")
    return names


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


def _read(path: str | Path, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(Path(path).read_bytes().decode("utf-8", errors="replace"))
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check the path, or fetch the file again.") from error
