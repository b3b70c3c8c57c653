"""What is true of a ScanNet scene: its fused mesh, and which of its faces are annotated as which object."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.meshes import read_mesh
from recon.io.scannet import instance_vertices, read_aggregation, read_segments
from recon.io.types import Mesh

MESHES = ("*_vh_clean_2.ply", "*_vh_clean.ply")


def scan_mesh(folder: Path) -> Path | None:
    """The file of a scene's mesh, the coarser and cleaner one where both are there."""
    found = (file for pattern in MESHES for file in sorted(folder.glob(pattern)))
    return next(found, None)


def object_mesh(folder: Path, number: int) -> Mesh:
    """The faces of a scan that are annotated as one object; all of their corners belong to it.

    Args:
        folder: of the scene: ``*_vh_clean_2.ply``, ``*.aggregation.json``, ``*_vh_clean_2.0.010000.segs.json``.
        number: the object's, counted from 0; instance images show it as ``number + 1``.

    Raises:
        DataError: if a file is missing or damaged, or there is no such object.
    """
    found = [next(iter(sorted(folder.glob(p))), folder / p) for p in ("*_vh_clean_2.ply", "*_vh_clean_2.*.segs.json")]
    annotated = sorted(folder.glob("*_vh_clean.aggregation.json")) or sorted(folder.glob("*.aggregation.json"))
    groups = read_aggregation(annotated[0] if annotated else folder / "*.aggregation.json")
    mesh, segments = read_mesh(found[0]), read_segments(found[1])
    if len(segments) != len(mesh.vertices):
        raise DataError(f"'{found[1]}': {len(segments)} segments for {len(mesh.vertices)} vertices.", "Download again.")
    rows = instance_vertices(groups, segments).get(number)
    if rows is None or not len(rows):
        raise DataError(f"'{folder}': no vertex is annotated as object {number}.", "Check the object's number.")
    place = np.full(len(mesh.vertices), -1)
    place[rows] = np.arange(len(rows))
    faces = place[mesh.faces]
    return Mesh(mesh.vertices[rows], faces[(faces >= 0).all(axis=1)])
