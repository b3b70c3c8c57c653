"""ShapeNetRendering's text files: names of views, cameras; the taxonomy; lists of splits."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np

SIDE = 137
FOCAL = 35 / 32  # of the image's side: Blender's lens of 35 mm before a sensor of 32 mm, a field of view of 49.1 degrees
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
