"""`Stage` and `View`: which part of the world a preview shows, and from where.

A stage is a sphere around the things shown. All pictures of one stage are synchronised: the same view of two
things puts the same world point on the same pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recon.io.types import Cloud, Mesh

Up = Literal["y", "z"]
FIELD_OF_VIEW = np.deg2rad(24.0)
DISTANCE = 1.02 / np.sin(FIELD_OF_VIEW / 2)  # from where the unit sphere just fits, with a thin margin


def positions(thing: Mesh | Cloud) -> np.ndarray:
    """(N, 3) the finite vertices of a mesh that its faces use, or the finite points of a cloud."""
    points = thing.points if isinstance(thing, Cloud) else thing.vertices[np.unique(thing.faces)]
    return points[np.isfinite(points).all(axis=1)]


@dataclass(frozen=True)
class Stage:
    """The sphere that pictures show, in world coordinates.

    Attributes:
        centre: (3,) float64.
        radius: positive, in world units.
        up: the axis that points up on the picture.
    """

    centre: np.ndarray
    radius: float
    up: Up = "y"

    @classmethod
    def around(cls, *things: Mesh | Cloud, up: Up = "y") -> Stage:
        """The stage that holds the first of `things` that is not empty (a stray point elsewhere must not shrink it)."""
        for points in map(positions, things):
            if len(points):
                centre = (points.min(axis=0) + points.max(axis=0)) / 2
                radius = float(np.linalg.norm(points - centre, axis=1).max())
                return cls(centre, radius or 1.0, up)
        return cls(np.zeros(3), 1.0, up)

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) float32 coordinates in the unit sphere: centred in float64 first, so that 5e6 + 0.1 keeps its 0.1."""
        return ((np.asarray(points, dtype=np.float64) - self.centre) / self.radius).astype(np.float32)


@dataclass(frozen=True)
class View:
    """A camera that looks at the centre of a stage.

    Attributes:
        azimuth: degrees about the up axis; 0 is the front (+z looking back for up=y, -y for up=z), 90 the right.
        elevation: degrees above the horizon.
        size: pixels along each side of the square picture.
    """

    azimuth: float = 30.0
    elevation: float = 20.0
    size: int = 400

    def axes(self, up: Up) -> np.ndarray:
        """(3, 3) float32; its rows are the camera's right, up and backward (to the eye) in stage coordinates."""
        azimuth, elevation = np.deg2rad([self.azimuth, self.elevation])
        east, north = np.sin(azimuth), np.cos(azimuth)
        high, flat = np.sin(elevation), np.cos(elevation)
        right = np.array([north, 0.0, -east])
        upward = np.array([-east * high, flat, -north * high])
        backward = np.array([east * flat, high, north * flat])
        rows = np.stack([right, upward, backward])
        return (rows if up == "y" else rows @ _Y_TO_Z.T).astype(np.float32)

    def rays(self, up: Up, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The eye (3,) and unit directions (size * size, 3), row by row from the upper left, float32."""
        size = size or self.size
        axes = self.axes(up)
        across = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * np.float32(np.tan(FIELD_OF_VIEW / 2))
        x, y = np.meshgrid(across, -across)
        local = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
        local /= np.linalg.norm(local, axis=1, keepdims=True)
        return axes[2] * np.float32(DISTANCE), local @ axes

    def project(self, local: np.ndarray, up: Up, size: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns and rows in pixels (centres at +0.5) and depth along the axis, of (N, 3) stage points."""
        size = size or self.size
        seen = local @ self.axes(up).T
        depth = np.float32(DISTANCE) - seen[:, 2]
        scale = size / 2 / (np.tan(FIELD_OF_VIEW / 2) * depth)
        return size / 2 + seen[:, 0] * scale, size / 2 - seen[:, 1] * scale, depth


_Y_TO_Z = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

FOUR_SIDES: tuple[tuple[str, View], ...] = (
    ("front", View(20, 15)),
    ("right", View(110, 15)),
    ("back", View(200, 15)),
    ("left", View(290, 15)),
)
