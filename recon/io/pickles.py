"""Pickled files of others, read as data: no code of theirs is ever looked up, let alone run.

NumPy pickles arrays of objects: 3D-R2N2's ``weights.npy`` is a list of arrays, the ``data_dict.npz`` of Iso-Points
holds dicts of lists. A pickle is a program for a small stack machine; here that machine knows only the instructions
that make plain values, and five names, all of NumPy's own arrays. Any other instruction or name is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError
from recon.io.arrays import parse_header, parse_npy
from recon.io.npz import Npz
from recon.io.parsing import FormatError
from recon.io.pickle_machine import MadeArray, count, filled, run, word

Plain = None | bool | int | float | str | list[Any] | dict[Any, Any] | np.ndarray

DEPTH = 64


def read_pickled_npy(path: str | Path) -> Plain:
    """What an .npy file holds: an array of numbers, or of objects (lists, dicts, text, numbers, arrays).

    Args:
        path: of the file. Text of Python 2 is taken as Latin-1, as for 3D-R2N2's weights.

    Returns:
        An array; or, for an array of objects, nested lists of its shape, the bare object if it has none.

    Raises:
        DataError: if the file is missing, damaged, or asks for anything else.
    """
    try:
        return parse_objects(Path(path).read_bytes())
    except (FormatError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"'{path}': {reason}.", "Check where this file is from; give one of plain arrays.") from error


def read_pickled_npz(path: str | Path) -> dict[str, Plain]:
    """The arrays of an .npz file by name, each as `read_pickled_npy` gives it.

    Raises:
        DataError: naming file and array, if something is damaged or no plain data.
    """
    archive = Npz(path)
    found: dict[str, Plain] = {}
    for name in archive.names:
        data = archive.data(name)
        with archive.errors(name):
            found[name] = parse_objects(data)
    return found


def parse_objects(data: bytes | memoryview) -> Plain:
    """The value of an .npy file's bytes; see `read_pickled_npy`.

    Raises:
        FormatError: if they are damaged or hold anything but plain data.
    """
    _, _, kind, start = parse_header(data)
    if kind.kind in "SU":
        return _text(data)
    return parse_pickle(bytes(data[start:])) if kind.hasobject else parse_npy(data)


def parse_pickle(data: bytes) -> Plain:
    """The value of a pickle of protocol 2 or later that holds plain values and arrays of them.

    Raises:
        FormatError: if it is damaged, holds anything else, or unfolds into more than it has instructions.
    """
    try:
        made, steps = run(data)
        return _Tree(1000 + 4 * steps).plain(made, 0)
    except FormatError:
        raise
    # What pickletools and the machine's steps raise on damaged input; nothing in them opens files or calls out.
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"its pickle cannot be read ({str(error)[:120]})") from error


def _text(data: bytes | memoryview) -> Plain:
    """Arrays of text, which NumPy writes without pickle."""
    shape, fortran, kind, start = parse_header(data)
    array = filled(tuple(shape), kind, bytes(data[start:]), fortran)
    if array.ndim > 1:
        raise FormatError("it is a table of text, which is not read")
    return [word(value) for value in array.tolist()] if array.ndim else word(array.item())


class _Tree:
    """From what the machine made to plain values; what is shared unfolds, so that the unfolded parts are counted."""

    def __init__(self, most: int) -> None:
        self.left = most

    def plain(self, value: Any, depth: int) -> Plain:
        self.left -= 1
        if self.left < 0 or depth > DEPTH:
            raise FormatError("its pickle unfolds into too much")
        if isinstance(value, MadeArray):
            return self._array(value, depth)
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise FormatError(f"its pickle holds a {type(value).__name__.strip('_').lower()}, which is no plain data")

    def _array(self, array: MadeArray, depth: int) -> Plain:
        if not isinstance(array.values, list):
            if array.values is None:
                raise FormatError("its pickle has an array without values")
            return np.asarray(array.values)
        if count(array.shape) != len(array.values):
            raise FormatError(f"its objects are {len(array.values)}, their shape is {array.shape}")
        items: list[Any] = [self.plain(item, depth + 1) for item in array.values]
        for length in reversed(array.shape[1:]):
            items = [items[i : i + length] for i in range(0, len(items), length)] if length else []
        return items if array.shape else items[0]
