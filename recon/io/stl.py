"""STL, binary and ascii. It has no vertices of its own: corners at equal positions become one."""

from __future__ import annotations

import io

import numpy as np

from recon.io.parsing import FormatError, merge_equal, numbers, text_lines
from recon.io.types import Mesh

RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
HEAD = 84


def read_stl(data: bytes) -> Mesh:
    """A mesh whose equal corners are merged.

    Raises:
        FormatError: if the file is neither, or ends too early.
    """
    count = int.from_bytes(data[80:HEAD], "little")
    whole = len(data) >= HEAD and HEAD + count * RECORD.itemsize <= len(data)
    if data.lstrip()[:5].lower() == b"solid" and not (whole and HEAD + count * RECORD.itemsize == len(data)):
        return _from_corners(_ascii(data))
    if len(data) < HEAD:
        raise FormatError(f"it ends after {len(data)} bytes, within the header")
    if not whole:
        raise FormatError(f"its header announces {count} triangles of 50 bytes, {len(data) - HEAD} bytes follow")
    return _from_corners(np.frombuffer(data, RECORD, count, HEAD)["corners"].reshape(-1, 3).astype(np.float64))


def _ascii(data: bytes) -> np.ndarray:
    lines = [line.strip() for line in text_lines(data)]
    rows = [line for line in lines if line[:6].lower() == "vertex"]
    corners = numbers(rows, "vertex", (1, 2, 3))
    if len(corners) % 3 or not any(line[:8].lower() == "endsolid" for line in lines):
        raise FormatError(f"it ends after {len(corners)} corners, without 'endsolid'")
    return corners


def _from_corners(corners: np.ndarray) -> Mesh:
    vertices, index = merge_equal(corners)
    return Mesh(vertices, index.reshape(-1, 3))


def write_stl(stream: io.BufferedIOBase, mesh: Mesh) -> None:
    """Binary where its 32-bit floats are good to 1e-7 of the mesh's size, else ascii with 17 digits.

    A binary file of a scan at map coordinates (5e6, size 10) would move its vertices by half a unit.
    """
    corners = mesh.vertices[mesh.faces]
    edges = np.diff(corners, axis=1)
    normals = np.cross(edges[:, 0], edges[:, 1])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    size = np.ptp(mesh.vertices, axis=0).max() if len(mesh.vertices) else 0.0
    error = np.abs(mesh.vertices - mesh.vertices.astype(np.float32)).max() if len(mesh.vertices) else 0.0
    if error > 1e-7 * size:
        _write_ascii(stream, normals, corners)
        return
    records = np.zeros(len(corners), RECORD)
    records["normal"], records["corners"] = normals, corners
    stream.write(b"recon".ljust(80) + len(corners).to_bytes(4, "little") + records.tobytes())


def _write_ascii(stream: io.BufferedIOBase, normals: np.ndarray, corners: np.ndarray) -> None:
    triple = " %.17g %.17g %.17g"
    facet = "\n".join(
        [f"facet normal{triple}", "outer loop", *[f"vertex{triple}"] * 3, "endloop", "endfacet"],
    )
    stream.write(b"solid recon\n")
    np.savetxt(stream, np.hstack([normals, corners.reshape(-1, 9)]), fmt=facet)
    stream.write(b"endsolid recon\n")
