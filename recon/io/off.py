"""OFF: text, with or without colours (COFF) and normals (NOFF), and with no faces at all."""

from __future__ import annotations

import io
import re

import numpy as np

from recon.io.parsing import FormatError, bytes_of_color, indices, integer, numbers, text_lines, triangulate, unit
from recon.io.types import Cloud, Mesh

HEADER = re.compile(r"(ST)?(C)?(N)?OFF(?![A-Za-z])")


def read_off(data: bytes) -> Cloud | Mesh:
    """A mesh, or a cloud when the file has no faces.

    Raises:
        FormatError: if the file breaks the format or ends too early.
    """
    lines = [line for line in (raw.partition("#")[0].strip() for raw in text_lines(data)) if line]
    found = HEADER.match(lines[0]) if lines else None
    if found is None:
        raise FormatError("it does not start with 'OFF' (also known: COFF, NOFF, CNOFF, STOFF; not binary or 4-D)")
    # Some files of ModelNet have the counts glued to the word.
    rest = lines[0][found.end() :].strip()
    if rest.upper().startswith("BINARY"):
        raise FormatError("it is a binary OFF file, which is not read")
    lines = [rest, *lines[1:]] if rest else lines[1:]
    counts = lines[0].split() if lines else []
    if len(counts) < 2:
        raise FormatError("its counts of vertices and faces are missing")
    vertices, faces = integer(counts[0], "vertices"), integer(counts[1], "faces")
    if vertices + faces > len(lines) - 1:
        raise FormatError(f"its header announces {vertices} vertices and {faces} faces, {len(lines) - 1} lines follow")
    rows = lines[1 : 1 + vertices]
    points = numbers(rows, "vertices", (0, 1, 2))
    normals = unit(numbers(rows, "vertices", (3, 4, 5))) if found[3] else None
    first = 6 if found[3] else 3
    colors = numbers(rows, "vertices", range(first, first + 3)) if found[2] else None
    extra = (normals, None if colors is None else bytes_of_color(colors))
    triangles = _triangles(lines[1 + vertices : 1 + vertices + faces], vertices)
    return Mesh(points, triangles, *extra) if len(triangles) else Cloud(points, *extra)


def _triangles(lines: list[str], vertices: int) -> np.ndarray:
    rows = [line.split() for line in lines]
    sizes = np.array([integer(row[0], "faces") for row in rows], dtype=np.int64)
    short = [i for i, row in enumerate(rows) if len(row) <= sizes[i]]
    if short:
        raise FormatError(
            f"faces: row {short[0]} announces {sizes[short[0]]} corners and has {len(rows[short[0]]) - 1}"
        )
    flat = [" ".join(corner for row, n in zip(rows, sizes, strict=True) for corner in row[1 : n + 1])]
    corners = numbers(flat, "faces")[0] if flat[0] else np.zeros(0)
    return triangulate(sizes, indices(corners, "faces"), vertices)


def write_off(stream: io.BufferedIOBase, mesh: Mesh) -> None:
    """Coordinates with 17 digits; normals and colours where the mesh has them (NOFF, COFF, CNOFF)."""
    word = ("C" if mesh.colors is not None else "") + ("N" if mesh.normals is not None else "") + "OFF"
    columns, formats = [mesh.vertices], " ".join(["%.17g"] * 3)
    if mesh.normals is not None:
        columns, formats = [*columns, mesh.normals], formats + " %.17g" * 3
    if mesh.colors is not None:
        opaque = np.full((len(mesh.colors), 1), 255)
        columns, formats = [*columns, mesh.colors, opaque], formats + " %d" * 4
    stream.write(f"{word}\n{len(mesh.vertices)} {len(mesh.faces)} 0\n".encode("ascii"))
    np.savetxt(stream, np.hstack(columns), fmt=formats)
    np.savetxt(stream, mesh.faces, fmt="3 %d %d %d")
