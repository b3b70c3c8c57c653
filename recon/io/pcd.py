"""PCD of the Point Cloud Library: ascii, binary and binary_compressed, with normals and packed colours.

Organised clouds (one row a pixel of a depth camera) hold NaN where nothing was measured; they are kept here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.io.parsing import FormatError, integer, numbers, text_lines, unit
from recon.io.types import Cloud

KINDS = {("F", "4"): "<f4", ("F", "8"): "<f8"} | {
    (letter, str(size)): f"<{kind}{size}" for letter, kind in (("I", "i"), ("U", "u")) for size in (1, 2, 4, 8)
}
HEADER = ("VERSION", "FIELDS", "COLUMNS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")


@dataclass(frozen=True)
class Header:
    """Names, numpy types and widths of the fields, the number of points, the encoding, and where the data starts."""

    names: list[str]
    kinds: list[str]
    counts: list[int]
    points: int
    encoding: str
    start: int

    @property
    def row(self) -> np.dtype:
        """One point as stored, its fields named by number, since names may repeat ('_')."""
        fields = zip(self.kinds, self.counts, strict=True)
        return np.dtype([(str(i), kind, (count,)) for i, (kind, count) in enumerate(fields)])


def read_pcd(data: bytes) -> Cloud:
    """A cloud, with NaN rows where the sensor measured nothing.

    Raises:
        FormatError: if the file breaks the format or ends too early.
    """
    header = _header(data)
    read = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}[header.encoding]
    fields = read(data, header)
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise FormatError(f"field '{missing[0]}' is missing (it has: {' '.join(header.names)[:120]})")
    points = np.stack([fields[axis] for axis in "xyz"], axis=1).astype(np.float64)
    names = [f"normal_{axis}" for axis in "xyz"]
    normals = np.stack([fields[n] for n in names], axis=1) if all(n in fields for n in names) else None
    packed = fields.get("rgb", fields.get("rgba"))
    return Cloud(points, None if normals is None else unit(normals), None if packed is None else _unpack(packed))


def _header(data: bytes) -> Header:
    entries: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in entries:
        end = data.find(b"\n", at)
        if end < 0:
            raise FormatError("its header has no DATA line")
        words = data[at:end].decode("latin-1").split()
        at = end + 1
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in HEADER:
            raise FormatError(f"header line '{' '.join(words)[:60]}' is not understood")
        entries[words[0]] = words[1:]
    names = entries.get("FIELDS", entries.get("COLUMNS", []))
    sizes, types = entries.get("SIZE", []), entries.get("TYPE", [])
    counts = [integer(word, "COUNT") for word in entries.get("COUNT", ["1"] * len(names))]
    if not names or not len(names) == len(sizes) == len(types) == len(counts):
        raise FormatError("FIELDS, SIZE, TYPE and COUNT of its header differ in length or are missing")
    kinds = [KINDS.get((letter, size), "") for letter, size in zip(types, sizes, strict=True)]
    if "" in kinds or min(counts) < 1 or max(counts) > 1 << 20:
        raise FormatError(f"field '{names[kinds.index('')] if '' in kinds else ''}' has an unknown TYPE, SIZE or COUNT")
    encoding = " ".join(entries["DATA"])
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise FormatError(f"DATA '{encoding[:40]}' is none of ascii, binary, binary_compressed")
    return Header([n.lower() for n in names], kinds, counts, _count(entries), encoding, at)


def _count(entries: dict[str, list[str]]) -> int:
    if entries.get("POINTS"):
        return integer(entries["POINTS"][0], "POINTS")
    width, height = ((entries.get(key) or ["missing"])[0] for key in ("WIDTH", "HEIGHT"))
    return integer(width, "WIDTH") * integer(height, "HEIGHT")


def _ascii(data: bytes, header: Header) -> dict[str, np.ndarray]:
    rows = [line for line in text_lines(data[header.start :]) if line and not line.isspace()]
    if header.points > len(rows):
        raise FormatError(f"its header announces {header.points} points, {len(rows)} rows follow")
    table = numbers(rows[: header.points], "points", range(sum(header.counts)))
    first = np.cumsum([0, *header.counts])
    fields: dict[str, np.ndarray] = {}
    for i, (name, kind) in enumerate(zip(header.names, header.kinds, strict=True)):
        with np.errstate(invalid="ignore", over="ignore"):
            # Only a packed colour needs its stored type back: its bits mean something.
            fields[name] = table[:, first[i]].astype(kind) if name in ("rgb", "rgba") else table[:, first[i]]
    return fields


def _binary(data: bytes, header: Header) -> dict[str, np.ndarray]:
    row, rest = header.row, len(data) - header.start
    if header.points * row.itemsize > rest:
        raise FormatError(f"its header announces {header.points} points of {row.itemsize} bytes, {rest} bytes follow")
    table = np.frombuffer(data, row, header.points, header.start)
    return {name: table[str(i)][:, 0] for i, name in enumerate(header.names)}


def _compressed(data: bytes, header: Header) -> dict[str, np.ndarray]:
    """All values of the first field, then all of the second, and so on, compressed as one block."""
    start, expected = header.start + 8, header.points * header.row.itemsize
    packed, unpacked = (int.from_bytes(data[at : at + 4], "little") for at in (header.start, header.start + 4))
    if start + packed > len(data):
        raise FormatError(f"its header announces {packed} compressed bytes, {max(len(data) - start, 0)} follow")
    if unpacked != expected:
        raise FormatError(f"its block unpacks to {unpacked} bytes, but {header.points} points take {expected}")
    block = unpack_lzf(data[start : start + packed], unpacked)
    fields, at = {}, 0
    for name, kind, count in zip(header.names, header.kinds, header.counts, strict=True):
        values = np.frombuffer(block, kind, header.points * count, at)
        fields[name] = values.reshape(header.points, count)[:, 0]
        at += values.nbytes
    return fields


def unpack_lzf(packed: bytes, size: int) -> bytearray:
    """Decompress LZF: runs of literal bytes, and copies of 3 to 264 bytes from up to 8192 bytes back.

    Args:
        packed: the compressed bytes.
        size: how many bytes they unpack to.

    Raises:
        FormatError: if they unpack to another number of bytes, or refer to bytes before the first.
    """
    out = bytearray()
    at, end = 0, len(packed)
    while at < end and len(out) <= size:
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        length, need = (control >> 5) + 2, 1
        if length == 9:
            length, need = length + (packed[at] if at < end else 0), 2
        if at + need > end:
            raise FormatError("its compressed block ends in the middle of a copy")
        back = ((control & 31) << 8 | packed[at + need - 1]) + 1
        at += need
        source = len(out) - back
        if source < 0:
            raise FormatError("its compressed block refers to bytes before the first")
        chunk = out[source : source + length]
        # A copy may overlap what it writes: then the bytes from `source` on repeat.
        out += chunk if back >= length else (chunk * (length // back + 1))[:length]
    if len(out) != size or at > end:
        raise FormatError(f"its compressed block unpacks to {len(out)} bytes, not {size}")
    return out


def _unpack(packed: np.ndarray) -> np.ndarray:
    """(N, 3) red, green, blue from 0xAARRGGBB, stored as an integer or in the bits of a float."""
    if packed.dtype.itemsize != 4:
        raise FormatError("field 'rgb': a packed colour takes 4 bytes")
    bits = np.ascontiguousarray(packed).view("<u4")
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)
