"""GLB (binary glTF 2.0): written about a local origin, so that 32-bit floats lose nothing of a scan far from 0."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.io.parsing import FormatError, bytes_of_color, triangulate, unit
from recon.io.types import Cloud, Mesh

MAGIC, JSON, BIN = b"glTF", b"JSON", b"BIN\0"
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963


def read_glb(data: bytes) -> Cloud | Mesh:
    """All meshes of the scene in one, in the scene's coordinates (transforms applied in float64).

    A cloud if the scene holds points and no triangles.

    Raises:
        FormatError: if the file breaks the format, or uses compression or external files.
    """
    document, binary = _chunks(data)
    try:
        parts = [part for mesh, matrix in _placed(document) for part in _primitives(document, binary, mesh, matrix)]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        # The JSON part may hold anything anywhere; what is missing or of a wrong type shows here.
        raise FormatError(f"its JSON part is not a usable scene ({type(error).__name__}: {error})") from error
    meshes = [part for part in parts if isinstance(part, Mesh)]
    chosen = meshes or parts
    if not chosen:
        raise FormatError("it holds no triangles and no points")
    points = [p.vertices if isinstance(p, Mesh) else p.points for p in chosen]
    extra = [
        np.concatenate([getattr(p, name) for p in chosen])
        if all(getattr(p, name) is not None for p in chosen)
        else None
        for name in ("normals", "colors")
    ]
    if not meshes:
        return Cloud(np.concatenate(points), *extra)
    offsets = np.cumsum([0] + [len(p) for p in points[:-1]])
    faces = np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=True)])
    return Mesh(np.concatenate(points), faces, *extra)


def _chunks(data: bytes) -> tuple[Any, bytes]:
    if data[:4] != MAGIC or len(data) < 20:
        raise FormatError("it does not start with a glTF header")
    version, total, length = struct.unpack_from("<III", data, 4)
    if version != 2 or data[16:20] != JSON:
        raise FormatError(f"it is version {version} or has no JSON part; version 2 is read")
    if total > len(data) or 20 + length > len(data):
        raise FormatError(f"its header announces {max(total, 20 + length)} bytes, it has {len(data)}")
    try:
        document = json.loads(data[20 : 20 + length])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its JSON part cannot be read ({error})") from error
    start = 20 + length
    if len(data) < start + 8 or data[start + 4 : start + 8] != BIN:
        return document, b""
    length = int.from_bytes(data[start : start + 4], "little")
    if start + 8 + length > len(data):
        raise FormatError(f"its header announces {length} bytes of geometry, {len(data) - start - 8} follow")
    return document, data[start + 8 : start + 8 + length]


def _placed(document: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Every mesh of the scene with its (4, 4) matrix to the scene."""
    nodes = document.get("nodes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    scenes = document.get("scenes")
    roots = scenes[document.get("scene", 0)].get("nodes", []) if scenes else sorted(set(range(len(nodes))) - children)
    stack, visited = [(root, np.eye(4)) for root in reversed(roots)], set()
    while stack:
        index, above = stack.pop()
        if index in visited:
            raise FormatError(f"nodes: node {index} hangs below two others, or below itself")
        visited.add(index)
        node = nodes[index]
        matrix = above @ _matrix(node)
        if "mesh" in node:
            yield document["meshes"][node["mesh"]], matrix
        stack += [(child, matrix) for child in reversed(node.get("children", []))]


def _matrix(node: Any) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), dtype=np.float64)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", [1, 1, 1]), dtype=np.float64).reshape(1, 3)
    matrix[:3, 3] = np.array(node.get("translation", [0, 0, 0]), dtype=np.float64)
    return matrix


def _primitives(document: Any, binary: bytes, mesh: Any, matrix: np.ndarray) -> Iterator[Cloud | Mesh]:
    for primitive in mesh["primitives"]:
        mode, attributes = primitive.get("mode", TRIANGLES), primitive["attributes"]
        if mode not in (POINTS, TRIANGLES, STRIP, FAN):
            continue
        if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
            raise FormatError("its geometry is Draco-compressed, which is not read")
        local = _accessor(document, binary, attributes["POSITION"])[:, :3]
        points = local.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        normals = colors = None
        if "NORMAL" in attributes:
            # Normals go with the inverse transpose; its determinant's sign keeps them outward under mirroring.
            cofactor = np.linalg.pinv(matrix[:3, :3]).T
            normals = unit(_accessor(document, binary, attributes["NORMAL"])[:, :3] @ cofactor.T)
        if "COLOR_0" in attributes:
            colors = bytes_of_color(_accessor(document, binary, attributes["COLOR_0"])[:, :3])
        if mode == POINTS:
            yield Cloud(points, normals, colors)
            continue
        index = np.arange(len(points))
        if "indices" in primitive:
            index = _accessor(document, binary, primitive["indices"])[:, 0].astype(np.int64)
        faces = _faces(index, mode, len(points))
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        yield Mesh(points, faces[:, ::-1].copy() if mirrored else faces, normals, colors)


def _faces(index: np.ndarray, mode: int, vertices: int) -> np.ndarray:
    if mode == TRIANGLES:
        return triangulate(np.full(len(index) // 3, 3), index[: len(index) // 3 * 3], vertices)
    if mode == FAN:
        return triangulate(np.array([len(index)]), index, vertices)
    strip = np.stack([index[:-2], index[1:-1], index[2:]], axis=1) if len(index) > 2 else np.zeros((0, 3), np.int64)
    strip[1::2] = strip[1::2][:, [1, 0, 2]]
    return triangulate(np.full(len(strip), 3), strip.reshape(-1), vertices)


def _accessor(document: Any, binary: bytes, number: int) -> np.ndarray:
    """(count, width) array of an accessor; normalised integers become floats."""
    accessor = document["accessors"][number]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise FormatError(f"accessor {number} is sparse or has no data, which is not read")
    view = document["bufferViews"][accessor["bufferView"]]
    if view.get("buffer", 0) != 0 or "uri" in document["buffers"][0]:
        raise FormatError("its geometry lies in another file; export it as one self-contained .glb")
    kind, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
    count, stride = accessor["count"], view.get("byteStride", kind.itemsize * width)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    end = start + max(count - 1, 0) * stride + kind.itemsize * width
    if min(count, start) < 0 or stride < kind.itemsize * width or (count and end > len(binary)):
        raise FormatError(f"accessor {number} reaches byte {end} of {len(binary)}")
    if not count:
        return np.zeros((0, width))
    table = np.ndarray((count, width), kind, binary, start, (stride, kind.itemsize))
    if not accessor.get("normalized", False):
        return table
    return np.maximum(table.astype(np.float64) / np.iinfo(kind).max, -1.0)


def write_glb(stream: io.BufferedIOBase, mesh: Mesh) -> None:
    """Float32 geometry about the centre of the box, which a node's translation (a double) puts back in place."""
    centre = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2 if len(mesh.vertices) else np.zeros(3)
    document: dict[str, Any] = {"asset": {"version": "2.0", "generator": "recon"}, "scene": 0, "scenes": [{}]}
    binary = b""
    if not mesh.is_empty:
        arrays = _arrays(mesh, centre)
        binary = b"".join(array.tobytes() for _, array in arrays)
        document |= _describe(arrays, centre, len(binary))
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), JSON) + text + struct.pack("<I4s", len(binary), BIN) + binary
    stream.write(struct.pack("<4sII", MAGIC, 2, 12 + len(chunks)) + chunks)


def _arrays(mesh: Mesh, centre: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What the binary part holds, in order; every array a multiple of four bytes long."""
    arrays = [("POSITION", (mesh.vertices - centre).astype("<f4"))]
    if mesh.normals is not None:
        arrays.append(("NORMAL", mesh.normals.astype("<f4")))
    if mesh.colors is not None:
        opaque = np.full((len(mesh.colors), 1), 255, np.uint8)
        arrays.append(("COLOR_0", np.hstack([mesh.colors, opaque])))
    return [*arrays, ("indices", mesh.faces.reshape(-1, 1).astype("<u4"))]


def _describe(arrays: list[tuple[str, np.ndarray]], centre: np.ndarray, size: int) -> dict[str, Any]:
    views, accessors, start = [], [], 0
    for name, array in arrays:
        target = ELEMENT_BUFFER if name == "indices" else ARRAY_BUFFER
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target})
        start += array.nbytes
        code = next(code for code, kind in COMPONENTS.items() if np.dtype(kind) == array.dtype)
        kind = next(kind for kind, width in WIDTHS.items() if width == array.shape[1])
        accessor = {"bufferView": len(views) - 1, "componentType": code, "count": len(array), "type": kind}
        if name == "POSITION":
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        accessors.append(accessor | ({"normalized": True} if name == "COLOR_0" else {}))
    attributes = {name: i for i, (name, _) in enumerate(arrays) if name != "indices"}
    return {
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": centre.tolist()}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": len(arrays) - 1}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": size}],
    }
