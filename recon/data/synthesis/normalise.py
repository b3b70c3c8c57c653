"""Meshes of unknown origin made fit to work on: what means nothing goes, the rest fits the unit cube."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recon.data.synthesis.textures import Textured
from recon.errors import DataError
from recon.geometry.frames import Frame
from recon.io.parsing import merge_equal
from recon.io.types import Mesh

Up = Literal["x", "y", "z"]
WELD = 1e-7  # of the longest edge: vertices on one place of a grid this fine are one
TO_Y = {
    "x": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]),
    "y": np.eye(3),
    "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}


@dataclass(frozen=True)
class Normalised:
    """A mesh with y up whose bounding box is centred, its longest edge 1.

    Attributes:
        look: for pictures, as the file has it: seams, materials, faces on faces.
        shape: for geometry: equal vertices are one, no face is there twice or has no area.
        frame: local to the world, whose y is up.
    """

    look: Textured
    shape: Mesh
    frame: Frame


def normalised(look: Textured, up: Up = "y") -> Normalised:
    """Turn a mesh upright and fit it into the unit cube (alto.md: by its box's centre and longest edge).

    Args:
        look: in the file's coordinates.
        up: the axis of the file that points up.

    Raises:
        DataError: if no face has an area.
    """
    turn = np.eye(4)
    turn[:3, :3] = TO_Y[up]
    look = look.transformed(turn)
    used = look.mesh.vertices[np.unique(look.mesh.faces)]
    if not len(used):
        raise DataError("It has no faces.")
    frame = Frame.fit(used, "box", 1.0)
    look = replace(look, mesh=replace(look.mesh, vertices=frame.to_local(look.mesh.vertices)))
    return Normalised(look, cleaned(look.mesh), frame)


def cleaned(mesh: Mesh) -> Mesh:
    """The same surface of a mesh of unit size, with vertices joined and empty and repeated faces dropped.

    Raises:
        DataError: if nothing is left.
    """
    grid, place = merge_equal(np.round(mesh.vertices / WELD))
    # Of those that are one, the first stands for all, exactly where it was.
    vertices = np.zeros((len(grid), 3))
    vertices[place[::-1]] = mesh.vertices[::-1]
    faces = place[mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not area.sum() > 0:
        raise DataError("None of its faces has an area.")
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    kept, renamed = np.unique(faces, return_inverse=True)
    return Mesh(vertices[kept], renamed.reshape(-1, 3))
