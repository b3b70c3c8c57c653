"""PLY: ascii and binary, any element and property; written as binary with doubles."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np

from recon.io.parsing import FormatError, bytes_of_color, indices, integer, numbers, text_lines, triangulate, unit
from recon.io.types import Cloud, Mesh

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
TYPES |= {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
TYPES |= {"float32": "f4", "float64": "f8"}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}

Lists = tuple[np.ndarray, np.ndarray]  # of a list property: sizes, and the values of all rows one after another
Table = dict[str, np.ndarray | Lists]


@dataclass
class Property:
    """One column: its numpy type, and that of the count when it is a list."""

    name: str
    kind: str
    count: str | None = None


@dataclass
class Element:
    """A table of `rows` rows."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    @property
    def smallest(self) -> int:
        """Bytes a binary row takes at least."""
        return sum(int((p.count or p.kind)[1]) for p in self.properties)


def read_ply(data: bytes) -> Cloud | Mesh:
    """A mesh if the file has faces or strips, else a cloud.

    Raises:
        FormatError: if the file breaks the format or ends too early.
    """
    order, elements, start = _header(data)
    tables = _ascii(data[start:], elements) if order == "" else _binary(data, start, elements, order)
    if "vertex" not in tables:
        raise FormatError("it has no element 'vertex'")
    return _geometry(tables)


def _header(data: bytes) -> tuple[str, list[Element], int]:
    end = data.find(b"end_header")
    if data[:3] != b"ply" or end < 0:
        raise FormatError("its header does not start with 'ply', or has no 'end_header'")
    order, elements = None, []
    for line in text_lines(data[:end])[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) > 1 and words[1] in ORDERS:
            order = ORDERS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            elements.append(Element(words[1], integer(words[2], f"element {words[1]}")))
        elif words[0] == "property" and elements:
            elements[-1].properties.append(_property(words))
        else:
            raise FormatError(f"header line '{line[:60]}' is not understood")
    if order is None:
        raise FormatError("its header has no 'format' line")
    after = end + len(b"end_header")
    newline = data[after : after + 2]
    return order, elements, after + (2 if newline == b"\r\n" else 1)


def _property(words: list[str]) -> Property:
    kinds = words[2:4] if words[1:2] == ["list"] else words[1:2]
    wanted = 5 if words[1:2] == ["list"] else 3
    if len(words) != wanted or any(k not in TYPES for k in kinds):
        raise FormatError(f"header line '{' '.join(words)[:60]}' is not understood")
    name, types = words[-1].lower(), [TYPES[k] for k in kinds]
    if len(types) == 2 and types[0][0] == "f":
        raise FormatError(f"property {name}: a list's length cannot be a '{kinds[0]}'")
    return Property(name, types[-1], types[0] if len(types) == 2 else None)


def _ascii(body: bytes, elements: list[Element]) -> dict[str, Table]:
    lines = [line for line in text_lines(body) if line and not line.isspace()]
    tables: dict[str, Table] = {}
    start = 0
    for element in elements:
        if not element.properties:
            continue
        if element.rows > len(lines) - start:
            raise FormatError(
                f"its header announces {element.rows} rows of '{element.name}', {len(lines) - start} follow"
            )
        rows = lines[start : start + element.rows]
        start += element.rows
        if all(p.count is None for p in element.properties):
            table = numbers(rows, element.name, range(len(element.properties)))
            tables[element.name] = {p.name: table[:, i] for i, p in enumerate(element.properties)}
        else:
            tables[element.name] = _ascii_lists(rows, element)
    return tables


def _ascii_lists(rows: list[str], element: Element) -> Table:
    """Rows with lists: the numbers of all rows in one array, then a walk over where each property starts."""
    widths = np.array([len(row.split()) for row in rows], dtype=np.int64)
    flat = numbers([" ".join(rows)], element.name)[0] if rows else np.zeros(0)
    at, ends = np.cumsum(widths) - widths, np.cumsum(widths)
    table: Table = {}
    for p in element.properties:
        if (at >= ends).any():
            raise FormatError(f"{element.name} {p.name}: row {int(np.argmax(at >= ends))} is too short")
        if p.count is None:
            table[p.name], at = flat[at], at + 1
            continue
        sizes = indices(flat[at], f"{element.name} {p.name}")
        if ((sizes < 0) | (at + 1 + sizes > ends)).any():
            raise FormatError(f"{element.name} {p.name}: a list is longer than its row")
        owner = np.repeat(np.arange(len(rows)), sizes)
        step = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        table[p.name], at = (sizes, flat[at[owner] + 1 + step]), at + 1 + sizes
    return table


def _binary(data: bytes, start: int, elements: list[Element], order: str) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for element in elements:
        # Compared before anything is allocated: a header may announce more rows than any machine holds.
        if element.rows * element.smallest > len(data) - start:
            raise FormatError(
                f"its header announces {element.rows} rows of '{element.name}', at least "
                f"{element.rows * element.smallest} bytes; {max(len(data) - start, 0)} bytes follow"
            )
        if element.properties and element.rows:
            tables[element.name], start = _binary_rows(data, start, element, order)
        elif element.properties:
            empty: Lists = (np.zeros(0, dtype=np.int64), np.zeros(0))
            tables[element.name] = {p.name: empty if p.count else np.zeros(0) for p in element.properties}
    return tables


def _binary_rows(data: bytes, start: int, element: Element, order: str) -> tuple[Table, int]:
    """Rows at a fixed stride where all lists are as long as the first row's, which is nearly always; else a walk."""
    lengths, size = _row(data, start, element, order)
    if size * element.rows <= len(data) - start:
        parts: list[tuple[str, str, tuple[int, ...]]] = []
        for i, p in enumerate(element.properties):
            if p.count:
                parts.append((f"n{i}", order + p.count, ()))
            parts.append((f"v{i}", order + p.kind, (lengths[i],) if p.count else ()))
        rows = np.frombuffer(data, np.dtype(parts), element.rows, start)
        if all((rows[f"n{i}"] == lengths[i]).all() for i, p in enumerate(element.properties) if p.count):
            table = {
                p.name: (rows[f"n{i}"].astype(np.int64), rows[f"v{i}"].reshape(-1)) if p.count else rows[f"v{i}"]
                for i, p in enumerate(element.properties)
            }
            return table, start + size * element.rows
    return _walk(data, start, element, order)


def _row(data: bytes, at: int, element: Element, order: str) -> tuple[list[int], int]:
    """List lengths of the row at `at` (0 for scalars), and its size in bytes."""
    lengths, start = [], at
    for p in element.properties:
        length = 0
        if p.count:
            width = int(p.count[1])
            length = int.from_bytes(
                data[at : at + width], "big" if order == ">" else "little", signed=p.count[0] == "i"
            )
            at += width
        at += int(p.kind[1]) * (length if p.count else 1)
        if length < 0 or at > len(data):
            raise FormatError(f"{element.name} {p.name}: the file ends in the middle of a row, or a list has no length")
        lengths.append(length)
    return lengths, at - start


def _walk(data: bytes, at: int, element: Element, order: str) -> tuple[Table, int]:
    sizes = np.zeros((element.rows, len(element.properties)), dtype=np.int64)
    values: list[list[bytes]] = [[] for _ in element.properties]
    for row in range(element.rows):
        sizes[row], width = _row(data, at, element, order)
        end = at + width
        for i, p in enumerate(element.properties):
            at += int(p.count[1]) if p.count else 0
            stop = at + int(p.kind[1]) * (int(sizes[row, i]) if p.count else 1)
            values[i].append(data[at:stop])
            at = stop
        at = end
    table: Table = {}
    for i, p in enumerate(element.properties):
        flat = np.frombuffer(b"".join(values[i]), order + p.kind)
        table[p.name] = (sizes[:, i], flat) if p.count else flat
    return table, at


def _geometry(tables: dict[str, Table]) -> Cloud | Mesh:
    vertex = {k: v for k, v in tables["vertex"].items() if isinstance(v, np.ndarray)}
    missing = [axis for axis in "xyz" if axis not in vertex]
    if missing:
        raise FormatError(f"element vertex: property '{missing[0]}' is missing")
    points = np.stack([vertex[a] for a in "xyz"], axis=1).astype(np.float64)
    normals = _triple(vertex, ["nx ny nz", "normal_x normal_y normal_z"])
    colors = _triple(vertex, ["red green blue", "diffuse_red diffuse_green diffuse_blue", "r g b"])
    extra = (
        None if normals is None else unit(normals),
        None if colors is None else bytes_of_color(colors),
    )
    faces = _faces(tables, len(points))
    return Mesh(points, faces, *extra) if len(faces) else Cloud(points, *extra)


def _triple(vertex: dict[str, np.ndarray], choices: list[str]) -> np.ndarray | None:
    for names in (choice.split() for choice in choices):
        if all(name in vertex for name in names):
            return np.stack([vertex[name] for name in names], axis=1)
    return None


def _faces(tables: dict[str, Table], vertices: int) -> np.ndarray:
    found = [np.zeros((0, 3), dtype=np.int64)]
    for element in ("face", "tristrips"):
        table = tables.get(element, {})
        lists = table.get("vertex_indices", table.get("vertex_index"))
        if not isinstance(lists, tuple):
            continue
        sizes, corners = lists[0], indices(lists[1].astype(np.float64), f"{element} vertex_indices")
        found.append(triangulate(sizes, corners, vertices) if element == "face" else _strips(sizes, corners, vertices))
    return np.concatenate(found)


def _strips(sizes: np.ndarray, corners: np.ndarray, vertices: int) -> np.ndarray:
    """Triangle strips, ended by -1 or by the list: every corner but the first two closes a triangle, turned in turn."""
    ends = np.zeros(len(corners) + 1, dtype=bool)
    ends[np.cumsum(sizes)] = True
    ends = ends[:-1] | (corners == -1)
    position = np.arange(len(corners))
    begin = np.maximum.accumulate(np.where(ends, position + (corners == -1), 0))
    last = np.flatnonzero((corners != -1) & (position - begin >= 2))
    flip = ((last - begin[last]) % 2).astype(bool)
    faces = np.stack([corners[last - 2], corners[last - 1], corners[last]], axis=1)
    faces[flip] = faces[flip][:, [1, 0, 2]]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return triangulate(np.full(len(faces), 3), faces.reshape(-1), vertices)


def write_ply(stream: io.BufferedIOBase, shape: Cloud | Mesh) -> None:
    """Binary little-endian, coordinates and normals as doubles, colours as bytes, faces as 32-bit indices."""
    points = shape.vertices if isinstance(shape, Mesh) else shape.points
    columns = [(axis, "<f8", points[:, i]) for i, axis in enumerate("xyz")]
    if shape.normals is not None:
        columns += [(f"n{axis}", "<f8", shape.normals[:, i]) for i, axis in enumerate("xyz")]
    if shape.colors is not None:
        columns += [(name, "u1", shape.colors[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    table = np.empty(len(points), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        table[name] = values
    types = {"<f8": "double", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property {types[kind]} {name}" for name, kind, _ in columns]
    if isinstance(shape, Mesh):
        header += [f"element face {len(shape.faces)}", "property list uchar int vertex_indices"]
    stream.write("\n".join([*header, "end_header\n"]).encode("ascii"))
    stream.write(table.tobytes())
    if isinstance(shape, Mesh):
        faces = np.empty(len(shape.faces), dtype=[("n", "u1"), ("v", "<i4", (3,))])
        faces["n"], faces["v"] = 3, shape.faces
        stream.write(faces.tobytes())
