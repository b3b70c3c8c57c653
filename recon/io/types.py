"""What geometry files hold: `Cloud` and `Mesh`, plain float64 arrays in the file's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass(frozen=True)
class Cloud:
    """A point cloud.

    Attributes:
        points: (N, 3) float64, in the file's own coordinates and unit.
        normals: (N, 3) float64 unit vectors, or None.
        colors: (N, 3) uint8, or None.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; faces wind counter-clockwise seen from outside.

    Attributes:
        vertices: (V, 3) float64, in the file's own coordinates and unit.
        faces: (F, 3) int64 indices into `vertices`.
        normals: (V, 3) float64 unit vertex normals, or None.
        colors: (V, 3) uint8, or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None

    @classmethod
    def empty(cls) -> Mesh:
        """No vertices, no faces: what a field without a surface in its box gives."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))

    @property
    def is_empty(self) -> bool:
        return len(self.faces) == 0

    def to_trimesh(self) -> trimesh.Trimesh:
        """The same mesh for trimesh, untouched (``process=False``)."""
        return trimesh.Trimesh(
            self.vertices,
            self.faces,
            vertex_normals=self.normals,
            vertex_colors=self.colors,
            process=False,
        )
