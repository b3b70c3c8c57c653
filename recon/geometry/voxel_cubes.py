"""Voxels as separate cubes with gaps between them: the meshes that the published programs of 3D-R2N2 write.

Watertight meshes in the world's units are made by `recon.geometry.voxel_mesh`.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion

from recon.io.files import atomic
from recon.io.types import Mesh

SIDE = 0.01  # of a cube, whatever the voxels measure
PITCH = 1.1  # from cube to cube, in sides
CORNERS = np.array(list(product((0, 1), repeat=3)))
TRIANGLES = np.array(
    [
        [0, 1, 2], [1, 3, 2], [2, 3, 6], [3, 7, 6], [0, 2, 6], [0, 6, 4],
        [0, 5, 1], [0, 4, 5], [6, 7, 5], [6, 5, 4], [1, 7, 3], [1, 5, 7],
    ]
)  # fmt: skip


def cubes_mesh(grid: np.ndarray, threshold: float = 0.3, surface_only: bool = True) -> Mesh:
    """A cube for every voxel above a threshold, in the order of the grid.

    Args:
        grid: (D, H, W) probabilities, or bool.
        threshold: a voxel must lie above it.
        surface_only: leave out voxels whose 26 neighbours are all filled; beyond the grid nothing is.
    """
    filled = np.asarray(grid, dtype=float) > threshold
    if surface_only:
        filled &= ~binary_erosion(filled, np.ones((3, 3, 3), dtype=bool))
    places = np.argwhere(filled)
    vertices = SIDE * (CORNERS + PITCH * places[:, None])
    faces = TRIANGLES + len(CORNERS) * np.arange(len(places))[:, None, None]
    return Mesh(vertices.reshape(-1, 3), faces.reshape(-1, 3))


def write_cubes(path: str | Path, mesh: Mesh) -> None:
    """Write an OBJ file as the published programs do, to the byte; whole or not at all.

    Raises:
        DataError: if it cannot be written.
    """
    with atomic(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"g\n# {len(mesh.vertices)} vertex\n")
        np.savetxt(file, mesh.vertices, fmt="v %f %f %f")
        file.write(f"# {len(mesh.faces)} faces\n")
        np.savetxt(file, mesh.faces + 1, fmt="f %d %d %d")
