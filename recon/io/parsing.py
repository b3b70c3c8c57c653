"""What all geometry readers share: careful numbers from untrusted text, polygons to triangles, and one error type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class FormatError(Exception):
    """What is wrong inside a file; `recon.io.meshes.read_geometry` adds the file's name and makes it a `DataError`."""


def text_lines(data: bytes) -> list[str]:
    """Lines of a text file of any line ending; Latin-1 decodes every byte, and numbers are ASCII anyway."""
    return data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def integer(token: str, what: str) -> int:
    """A non-negative whole number.

    Raises:
        FormatError: naming `what` if `token` is none.
    """
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise FormatError(f"{what}: '{token[:40]}' is not a count")
    return int(token)


def numbers(lines: Sequence[str], what: str, columns: Sequence[int] | None = None) -> np.ndarray:
    """(rows, columns) float64 from lines of numbers between blanks.

    Args:
        lines: one row each, none of them empty.
        what: named in errors, e.g. ``"vertices"``.
        columns: those to read; None reads all and wants the same number in every row.

    Raises:
        FormatError: if a number cannot be read, or rows differ in length.
    """
    if not lines:
        return np.zeros((0, len(columns) if columns else 0))
    if not all(map(str.strip, lines)):
        raise FormatError(f"{what}: a row is empty")
    try:
        return np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2, usecols=columns)
    except ValueError as error:
        raise FormatError(f"{what}: {str(error).split(';')[0].rstrip('.')}") from error


def indices(values: np.ndarray, what: str) -> np.ndarray:
    """Whole numbers held as floats, as int64.

    Raises:
        FormatError: if some are not whole.
    """
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) < 2.0**53) | (values != np.floor(values))
    if bad.any():
        raise FormatError(f"{what}: {values[bad].ravel()[0]} is not a whole number")
    return values.astype(np.int64)


def triangulate(sizes: np.ndarray, corners: np.ndarray, vertices: int) -> np.ndarray:
    """Polygons to triangles, each as a fan about its first corner; those of fewer than three corners vanish.

    Args:
        sizes: (P,) corners of each polygon.
        corners: (sum of sizes,) vertex indices, one polygon after another.
        vertices: how many vertices there are.

    Returns:
        (F, 3) int64.

    Raises:
        FormatError: if an index names no vertex.
    """
    sizes, corners = np.asarray(sizes, dtype=np.int64), np.asarray(corners, dtype=np.int64)
    bad = np.flatnonzero((corners < 0) | (corners >= vertices))
    if len(bad):
        raise FormatError(f"faces: index {corners[bad[0]]} names none of {vertices} vertices (counted from 0)")
    fans = np.maximum(sizes - 2, 0)
    owner = np.repeat(np.arange(len(sizes)), fans)
    step = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    first = (np.cumsum(sizes) - sizes)[owner]
    return np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1)


def merge_equal(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of (N, 3) `points`, and for every row the number of its like."""
    points = points + 0.0  # -0 becomes 0, so that both zeros are one
    order = np.lexsort(points.T)
    ordered = points[order]
    new = np.ones(len(points), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(points), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    return ordered[new], inverse


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, 3) `vectors` at length one; zero and non-finite ones stay what they are."""
    vectors = np.asarray(vectors, dtype=np.float64)
    # Scaled first, so that the squares of huge or tiny numbers stay in range.
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    vectors = vectors / np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def bytes_of_color(colors: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 from uint8, from 16-bit integers, or from floats in [0, 1] or [0, 255]."""
    if colors.dtype == np.uint8:
        return colors
    if colors.dtype == np.uint16:
        return (colors >> 8).astype(np.uint8)
    values = np.nan_to_num(np.asarray(colors, dtype=np.float64))
    is_fraction = colors.dtype.kind == "f" and (values <= 1).all()
    return np.clip(np.round(values * 255 if is_fraction else values), 0, 255).astype(np.uint8)
