"""Read any geometry file, write any mesh; the suffix decides the format."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from recon.errors import DataError
from recon.io.arrays import read_npy, read_npz
from recon.io.files import atomic
from recon.io.glb import read_glb, write_glb
from recon.io.obj import read_obj, write_obj
from recon.io.off import read_off, write_off
from recon.io.parsing import FormatError
from recon.io.pcd import read_pcd
from recon.io.ply import read_ply, write_ply
from recon.io.stl import read_stl, write_stl
from recon.io.text import read_pwn, read_xyz, read_xyzn
from recon.io.types import Cloud, Mesh

log = logging.getLogger("recon")

OnBad = Literal["raise", "drop"]

READERS: dict[str, Callable[[bytes], Cloud | Mesh]] = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".off": read_off,
    ".stl": read_stl,
    ".glb": read_glb,
    ".xyz": read_xyz,
    ".pts": read_xyz,
    ".asc": read_xyz,
    ".txt": read_xyz,
    ".xyzn": read_xyzn,
    ".pwn": read_pwn,
    ".npy": read_npy,
    ".npz": read_npz,
    ".pcd": read_pcd,
}
WRITERS: dict[str, Callable[[io.BufferedIOBase, Mesh], None]] = {
    ".ply": write_ply,
    ".obj": write_obj,
    ".off": write_off,
    ".stl": write_stl,
    ".glb": write_glb,
}


def read_geometry(path: str | Path, on_bad_points: OnBad = "raise", normals: bool = True) -> Cloud | Mesh:
    """What a file holds, in its own coordinates, in float64: a `Mesh` if it has faces, else a `Cloud`.

    Args:
        path: of a file with one of the suffixes of `READERS`.
        on_bad_points: what to do with points that are not finite, or whose normals have no direction. In a .pcd
            they mean "nothing measured" and are always dropped.
        normals: False leaves normals out.

    Raises:
        DataError: naming file and cause, if the file is missing, damaged, empty, or not of a known format.
    """
    path = Path(path)
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"'{path}': no known format of geometry has the suffix '{path.suffix}'.", known(READERS))
    try:
        data = path.read_bytes()
        if not data:
            raise FormatError("it is empty")
        # Numbers that are not finite are looked for below, in one place.
        with np.errstate(all="ignore"):
            shape = read(data)
        count = len(shape.vertices if isinstance(shape, Mesh) else shape.points)
        if count == 0:
            raise FormatError("it holds no points")
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check the path, or export the file again.") from error
    shape = shape if normals else replace(shape, normals=None)
    if isinstance(shape, Mesh):
        return _finite_mesh(path, shape)
    return _finite_cloud(path, shape, "drop" if path.suffix.lower() == ".pcd" else on_bad_points)


def _finite_mesh(path: Path, mesh: Mesh) -> Mesh:
    bad = ~np.isfinite(mesh.vertices).all(axis=1)
    if bad.any():
        raise DataError(
            f"'{path}': {bad.sum()} of {len(bad)} vertices are not finite (the first is number {np.argmax(bad)}).",
            "Repair the mesh, or export it again.",
        )
    if mesh.normals is not None and not np.isfinite(mesh.normals).all():
        log.warning("'%s': its vertex normals are not finite and are left out.", path)
        return replace(mesh, normals=None)
    return mesh


def _finite_cloud(path: Path, cloud: Cloud, on_bad_points: OnBad) -> Cloud:
    bad_points = ~np.isfinite(cloud.points).all(axis=1)
    bad_normals = np.zeros(len(bad_points), dtype=bool)
    if cloud.normals is not None:
        # NaN compares false, so that it counts as a normal without direction.
        bad_normals = ~(np.linalg.norm(cloud.normals, axis=1) > 0.5) & ~bad_points
        if (bad_normals | bad_points).all():
            log.warning("'%s': none of its normals has a direction; they are left out.", path)
            cloud, bad_normals = replace(cloud, normals=None), np.zeros_like(bad_normals)
    bad = bad_points | bad_normals
    if not bad.any():
        return cloud
    field, number = ("points", bad_points) if bad_points.any() else ("normals", bad_normals)
    what = f"{number.sum()} of {len(bad)} {field} are not finite or have no direction"
    if on_bad_points == "raise":
        raise DataError(
            f"'{path}': {what} (the first is row {np.argmax(number)}).",
            "Pass data.on_bad_points=drop to leave them out"
            + (", or data.use_normals=false." if field == "normals" else ", or clean the file."),
        )
    if bad.all():
        raise DataError(f"'{path}': all of its {len(bad)} points are not finite.", "Export the file again.")
    log.warning("'%s': %s; %d rows are left out.", path, what, bad.sum())
    return Cloud(
        cloud.points[~bad],
        None if cloud.normals is None else cloud.normals[~bad],
        None if cloud.colors is None else cloud.colors[~bad],
    )


def read_mesh(path: str | Path) -> Mesh:
    """The mesh a file holds.

    Raises:
        DataError: as `read_geometry`, and if the file has no faces.
    """
    shape = read_geometry(path)
    if isinstance(shape, Cloud):
        raise DataError(f"'{path}' has {len(shape.points)} points and no faces.", "Give a mesh, not a point cloud.")
    return shape


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh whole or not at all; every format keeps coordinates to 1e-7 of the mesh's size or better.

    Args:
        path: its suffix decides: .ply, .obj, .off, .stl or .glb.
        mesh: may be empty.

    Raises:
        DataError: if the suffix is unknown or the file cannot be written.
    """
    write = WRITERS.get(Path(path).suffix.lower())
    if write is None:
        raise DataError(f"'{path}': meshes are not written as '{Path(path).suffix}'.", known(WRITERS))
    with atomic(path) as temporary, temporary.open("wb") as stream:
        write(stream, mesh)


def known(table: Mapping[str, object]) -> str:
    """The suffixes of a table of formats, for errors."""
    return f"Known: {' '.join(table)}."
