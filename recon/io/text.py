"""Point clouds as plain text: xyz and its kin (one row a point), and pwn (points with normals)."""

from __future__ import annotations

import io

import numpy as np

from recon.io.parsing import FormatError, bytes_of_color, integer, numbers, text_lines, unit
from recon.io.types import Cloud


def read_xyz(data: bytes) -> Cloud:
    """Rows of x y z, then any of: an intensity, a normal, a colour in 0..255, in the usual orders.

    Three further columns are a colour if they hold whole numbers up to 255 (and some above 1), else a normal.

    Raises:
        FormatError: if a row cannot be read, or the number of columns fits no layout.
    """
    table = numbers(_rows(data), "points")
    points, rest = table[:, :3], table[:, 3:]
    if table.shape[1] < 3 or rest.shape[1] not in (0, 1, 3, 4, 6, 7):
        raise FormatError(f"it has {table.shape[1]} columns; 3 (x y z), 6 (and normals) or 9 (and colours) are read")
    rest = rest[:, 1:] if rest.shape[1] in (1, 4, 7) else rest
    triples = [rest[:, i : i + 3] for i in range(0, rest.shape[1], 3)]
    colors = next((t for t in triples if _is_color(t)), None)
    normals = next((t for t in triples if t is not colors), None)
    return Cloud(
        points, None if normals is None else unit(normals), None if colors is None else bytes_of_color(colors / 255.0)
    )


def read_xyzn(data: bytes) -> Cloud:
    """Rows of x y z nx ny nz; columns beyond are left alone.

    Raises:
        FormatError: if a row cannot be read or has fewer than six columns.
    """
    table = numbers(_rows(data), "points", range(6))
    return Cloud(table[:, :3], unit(table[:, 3:]))


def read_pwn(data: bytes) -> Cloud:
    """Rows of x y z nx ny nz, or all points followed by all normals; a count before them may be left out.

    Raises:
        FormatError: if there are fewer rows than the count says, or normals are missing.
    """
    rows = _rows(data, keep_count=True)
    counted = len(rows[0].split()) == 1
    table = numbers(rows[1:] if counted else rows, "points")
    paired = table.shape[1] == 3
    count = integer(rows[0].strip(), "count") if counted else len(table) // (2 if paired else 1)
    if table.shape[1] not in (3, 6) or len(table) < count * (2 if paired else 1) or (paired and not counted):
        raise FormatError(f"it announces {count} points with normals; {len(table)} rows of {table.shape[1]} follow")
    if paired:
        return Cloud(table[:count], unit(table[count : 2 * count]))
    return Cloud(table[:count, :3], unit(table[:count, 3:]))


def _rows(data: bytes, keep_count: bool = False) -> list[str]:
    """Rows of numbers: no comments, no line of column names, no leading count; commas count as blanks."""
    lines = text_lines(data.replace(b",", b" ").replace(b";", b" "))
    rows = [line for line in lines if line and not line.isspace() and not line.lstrip().startswith(("#", "//"))]
    if rows and not _is_number(rows[0].split()[0]):
        rows = rows[1:]
    if not rows:
        raise FormatError("it holds no rows of numbers")
    if not keep_count and len(rows) > 1 and len(rows[0].split()) == 1:
        count = integer(rows[0].strip(), "count")
        if count > len(rows) - 1:
            raise FormatError(f"it announces {count} points, {len(rows) - 1} rows follow")
        return rows[1 : 1 + count]
    return rows


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _is_color(triple: np.ndarray) -> bool:
    return bool((triple == np.round(triple)).all() and triple.min() >= 0 and 1 < triple.max() <= 255)


def write_xyz(stream: io.BufferedIOBase, cloud: Cloud) -> None:
    """Rows of x y z, then the normal and the colour where there are any, with 17 digits."""
    columns = [cloud.points] + [c for c in (cloud.normals, cloud.colors) if c is not None]
    formats = [" ".join(["%.17g"] * 3)] * (1 if cloud.normals is None else 2)
    formats += [] if cloud.colors is None else ["%d %d %d"]
    np.savetxt(stream, np.hstack(columns), fmt=" ".join(formats))


def write_xyzn(stream: io.BufferedIOBase, cloud: Cloud) -> None:
    """Rows of x y z nx ny nz with 17 digits.

    Raises:
        FormatError: if the cloud has no normals.
    """
    if cloud.normals is None:
        raise FormatError("this format wants normals and the cloud has none")
    write_xyz(stream, Cloud(cloud.points, cloud.normals))
