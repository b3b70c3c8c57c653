"""Read and write point clouds; the suffix decides the format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from recon.errors import DataError
from recon.io.arrays import write_npy, write_npz
from recon.io.files import atomic
from recon.io.meshes import OnBad, known, read_geometry
from recon.io.parsing import FormatError
from recon.io.ply import write_ply
from recon.io.text import write_xyz, write_xyzn
from recon.io.types import Cloud, Mesh

WRITERS: dict[str, Callable[[io.BufferedIOBase, Cloud], None]] = {
    ".ply": write_ply,
    ".xyz": write_xyz,
    ".xyzn": write_xyzn,
    ".npy": write_npy,
    ".npz": write_npz,
}


def read_cloud(path: str | Path, on_bad_points: OnBad = "raise", normals: bool = True) -> Cloud:
    """The cloud a file holds (see `recon.io.meshes.read_geometry`).

    Raises:
        DataError: as `read_geometry`, and if the file holds a mesh, whose vertices are no samples of its surface.
    """
    shape = read_geometry(path, on_bad_points, normals)
    if isinstance(shape, Mesh):
        raise DataError(
            f"'{path}' holds a mesh of {len(shape.faces)} faces where points are wanted.",
            "Give a point cloud, or sample the mesh first (data=own does).",
        )
    return shape


def write_cloud(path: str | Path, cloud: Cloud) -> None:
    """Write a cloud whole or not at all, without loss; colours go to .ply and .xyz only.

    Raises:
        DataError: if the suffix is unknown, the file cannot be written, or .xyzn is asked for without normals.
    """
    write = WRITERS.get(Path(path).suffix.lower())
    if write is None:
        raise DataError(f"'{path}': clouds are not written as '{Path(path).suffix}'.", known(WRITERS))
    try:
        with atomic(path) as temporary, temporary.open("wb") as stream:
            write(stream, cloud)
    except FormatError as error:
        raise DataError(f"'{path}': {error}.", "Write .xyz or .ply instead.") from error
