"""ShapeNetRendering's text files: names of views, and their cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import TypeVar

import numpy as np

from recon.errors import DataError
from recon.io.parsing import FormatError, numbers
from recon.io.splits import is_name

SIDE = 137  # pixels
VIEWS = 24
FOCAL = 35 / 32
"""Of the image's side: Blender's lens of 35 mm before a sensor of 32 mm, a field of view of 49.1 degrees."""
FARTHEST = 1.75
"""Scene units; the distance in a file is a share of it."""
Parsed = TypeVar("Parsed")


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


def read_viewpoints(path: str | Path) -> list[Viewpoint]:
    """The cameras of ``rendering_metadata.txt``, one a view.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    return read_parsed(path, parse_viewpoints)


def read_view_names(path: str | Path) -> list[str]:
    """The files that ``renderings.txt`` lists.

    Raises:
        DataError: as `read_viewpoints`.
    """
    return read_parsed(path, parse_view_names)


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
        if not is_name(name):
            raise FormatError(f"names of views: '{name[:40]}' is no name of a file")
    return names


def read_parsed(path: str | Path, parse: Callable[[str], Parsed]) -> Parsed:
    """What a parser makes of a text file.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        return parse(Path(path).read_bytes().decode("utf-8", errors="replace"))
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check the path, or fetch the file again.") from error
