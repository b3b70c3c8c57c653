"""Wavefront OBJ: positions, colours behind positions, normals and polygons; materials and textures are left alone."""

from __future__ import annotations

import io
from itertools import chain

import numpy as np

from recon.io.parsing import FormatError, bytes_of_color, numbers, text_lines, triangulate, unit
from recon.io.types import Cloud, Mesh


def read_obj(data: bytes) -> Cloud | Mesh:
    """A mesh, or a cloud when the file has positions only.

    Raises:
        FormatError: if a number or an index cannot be used.
    """
    positions: list[str] = []
    normals: list[str] = []
    faces: list[list[str]] = []
    seen: list[tuple[int, int]] = []  # positions and normals before each face, which negative indices count from
    for line in text_lines(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")):
        key, _, rest = line.strip().partition("#")[0].replace("\t", " ").partition(" ")
        if key == "v":
            positions.append(rest)
        elif key == "vn":
            normals.append(rest)
        elif key == "f":
            faces.append(rest.split())
            seen.append((len(positions), len(normals)))
    vertices = numbers(positions, "v", (0, 1, 2))
    colored = bool(positions) and len(positions[0].split()) >= 6
    colors = bytes_of_color(numbers(positions, "v", (3, 4, 5))) if colored else None
    directions = numbers(normals, "vn", (0, 1, 2))
    if not faces:
        return Cloud(vertices, unit(directions) if len(normals) == len(positions) > 0 else None, colors)
    sizes = np.array([len(face) for face in faces])
    tokens = list(chain.from_iterable(faces))
    corners = _indices([t.partition("/")[0] for t in tokens], sizes, [s[0] for s in seen])
    triangles = triangulate(sizes, corners, len(vertices))
    return Mesh(vertices, triangles, _vertex_normals(tokens, sizes, corners, directions, len(vertices), seen), colors)


def _indices(tokens: list[str], sizes: np.ndarray, seen: list[int]) -> np.ndarray:
    """Indices from 0: those of the file count from 1, or backwards from the last one so far."""
    try:
        index = np.array(list(map(int, tokens)), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"f: {error}") from error
    if (index == 0).any():
        raise FormatError("f: index 0; indices of OBJ files count from 1")
    return np.where(index > 0, index - 1, index + np.repeat(seen, sizes))


def _vertex_normals(
    tokens: list[str],
    sizes: np.ndarray,
    corners: np.ndarray,
    directions: np.ndarray,
    vertices: int,
    seen: list[tuple[int, int]],
) -> np.ndarray | None:
    """The mean of the normals of a vertex's corners, or None unless every corner has one."""
    if not len(directions) or any(token.count("/") != 2 or token.endswith("/") for token in tokens):
        return None
    index = _indices([token.rpartition("/")[2] for token in tokens], sizes, [s[1] for s in seen])
    if (index >= len(directions)).any() or (index < 0).any():
        raise FormatError(f"f: an index names none of {len(directions)} normals")
    total = np.zeros((vertices, 3))
    np.add.at(total, corners, directions[index])
    return unit(total)


def write_obj(stream: io.BufferedIOBase, mesh: Mesh) -> None:
    """Positions (and colours in [0, 1] behind them) and normals with 17 digits, which a double survives."""
    table = mesh.vertices if mesh.colors is None else np.hstack([mesh.vertices, mesh.colors / 255.0])
    np.savetxt(stream, table, fmt="v" + " %.17g" * table.shape[1])
    if mesh.normals is None:
        np.savetxt(stream, mesh.faces + 1, fmt="f %d %d %d")
        return
    np.savetxt(stream, mesh.normals, fmt="vn %.17g %.17g %.17g")
    np.savetxt(stream, np.repeat(mesh.faces + 1, 2, axis=1), fmt="f %d//%d %d//%d %d//%d")
