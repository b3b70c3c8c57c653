"""The stack machine that pickles are programs for, cut down to what makes plain values and NumPy's arrays of them.

Instructions are decoded by the standard library's `pickletools`, which runs nothing. `recon.io.pickles` turns the
result into plain values.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from recon.io.parsing import FormatError

STEPS = 1 << 18  # instructions, each of which makes at most one small object
TYPES = re.compile(r"[iuf][1248]|b1|[SU]\d{1,6}")


class _Name(Enum):
    """The names that a pickle may call."""

    RECONSTRUCT = "_reconstruct"
    ARRAY = "ndarray"
    TYPE = "dtype"
    SCALAR = "scalar"
    ENCODE = "encode"


NAMES = {
    f"{module} {name.value}": name
    for name, modules in (
        (_Name.RECONSTRUCT, ("numpy.core.multiarray", "numpy._core.multiarray")),
        (_Name.SCALAR, ("numpy.core.multiarray", "numpy._core.multiarray")),
        (_Name.ARRAY, ("numpy",)),
        (_Name.TYPE, ("numpy",)),
        (_Name.ENCODE, ("_codecs",)),
    )
    for module in modules
}


@dataclass
class _Type:
    """A dtype on its way; `order` comes with its state."""

    code: str
    order: str = "|"

    @property
    def holds_objects(self) -> bool:
        return self.code in ("O", "O4", "O8")

    def dtype(self) -> np.dtype[Any]:
        if not TYPES.fullmatch(self.code) or self.order not in "<>|=":
            raise FormatError(f"arrays of '{self.order[:2]}{self.code[:40]}' are not read")
        return np.dtype(("<" if self.order == "=" else self.order) + self.code)


@dataclass
class MadeArray:
    """An array on its way; its values come with its state."""

    shape: tuple[int, ...] = ()
    values: Any = None  # an array, or a list of objects


def run(data: bytes) -> tuple[Any, int]:
    """What a pickle makes, with `MadeArray` for arrays, and the number of its instructions.

    Raises:
        FormatError: at instructions and names that plain data do not need; damaged input raises what `pickletools` or
            a step stumbles over: ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError.
    """
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[int, Any] = {}
    opcode: pickletools.OpcodeInfo
    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if step > STEPS:
            raise FormatError(f"its pickle has more than {STEPS} instructions")
        if name in VALUES:
            stack.append(argument)
        elif name in MAKERS:
            MAKERS[name](stack)
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in COLLECTORS:
            collected, stack = stack, marks.pop()
            COLLECTORS[name](stack, collected)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_named(argument))
        elif name == "STOP":
            return stack.pop(), step
        elif name not in ("PROTO", "FRAME"):
            raise FormatError(f"its pickle uses the instruction {name}, which plain data do not need")
    raise FormatError("its pickle does not end")


def _named(name: str) -> _Name:
    if name not in NAMES:
        raise FormatError(f"its pickle asks for '{name[:80].replace(' ', '.')}', which is no plain data")
    return NAMES[name]


def _constant(value: Any) -> Callable[[list[Any]], None]:
    return lambda stack: stack.append(value() if callable(value) else value)


def _tuple(size: int) -> Callable[[list[Any]], None]:
    def make(stack: list[Any]) -> None:
        if len(stack) < size:
            raise FormatError("its pickle takes more than it has put down")
        stack[len(stack) - size :] = [tuple(stack[len(stack) - size :])]

    return make


def _append(stack: list[Any]) -> None:
    value = stack.pop()
    _list(stack[-1]).append(value)


def _set_item(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _set_items(stack, [key, value])


def _set_items(stack: list[Any], collected: list[Any]) -> None:
    if not isinstance(stack[-1], dict) or len(collected) % 2:
        raise FormatError("its pickle fills what is no dict")
    for key, value in zip(collected[::2], collected[1::2], strict=True):
        # Only keys whose hashes cannot be made to collide.
        if not isinstance(key, str | int) or (isinstance(key, int) and key.bit_length() > 32):
            raise FormatError("its pickle has a dict whose keys are neither text nor small numbers")
        stack[-1][key] = value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError("its pickle fills what is no list")
    return value


def _stack_global(stack: list[Any]) -> None:
    name, module = stack.pop(), stack.pop()
    stack.append(_named(f"{module} {name}"))


def _reduce(stack: list[Any]) -> None:
    arguments, called = stack.pop(), stack.pop()
    if called is _Name.RECONSTRUCT and arguments[0] is _Name.ARRAY:
        stack.append(MadeArray())
    elif called is _Name.TYPE:
        stack.append(_Type(word(arguments[0])))
    elif called is _Name.SCALAR and isinstance(arguments[0], _Type):
        stack.append(filled((), arguments[0].dtype(), _bytes(arguments[1]), False).item())
    elif called is _Name.ENCODE and arguments[1:] in (("latin1",), ("latin-1",)):
        stack.append(_bytes(arguments[0]))
    else:
        raise FormatError("its pickle calls what makes no plain data")


def _build(stack: list[Any]) -> None:
    state, made = stack.pop(), stack[-1]
    if isinstance(made, _Type):
        if any(part is not None for part in state[2:5]):
            raise FormatError("arrays of records are not read")
        made.order = word(state[1])
    elif isinstance(made, MadeArray):
        shape, kind, fortran, values = state[-4:]
        made.shape = tuple(shape)
        if not isinstance(kind, _Type):
            raise FormatError("its pickle has an array without a type")
        raw = kind.holds_objects
        made.values = _list(values) if raw else filled(made.shape, kind.dtype(), _bytes(values), fortran)
        if raw and fortran and len(made.shape) > 1:
            raise FormatError("its objects are in an order that is not read")
    else:
        raise FormatError("its pickle gives a state to what has none")


def word(value: Any) -> str:
    """Text, of Python 2 too.

    Raises:
        FormatError: if it is none.
    """
    if not isinstance(value, bytes | str):
        raise FormatError("its pickle names a type by what is no text")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    """Raw values; Python 2 called them text."""
    if not isinstance(value, bytes | str):
        raise FormatError("its pickle has an array without values")
    return value.encode("latin-1") if isinstance(value, str) else value


def filled(shape: tuple[int, ...], kind: np.dtype[Any], values: bytes, fortran: bool) -> np.ndarray:
    """An array of raw values, in the machine's own byte order.

    Raises:
        FormatError: if they are too few or too many for its shape.
    """
    if not kind.itemsize or count(shape) * kind.itemsize != len(values):
        raise FormatError(f"an array of shape {shape} of {kind} does not fit its {len(values)} bytes")
    array = np.frombuffer(values, kind).reshape(shape, order="F" if fortran else "C")
    return array.astype(kind.newbyteorder("="), copy=False)


def count(shape: tuple[int, ...]) -> int:
    """How many values an array of this shape has.

    Raises:
        FormatError: if it is no shape.
    """
    total = 1
    for length in shape if len(shape) <= 32 else (-1,):
        if not isinstance(length, int) or length < 0:
            raise FormatError("its pickle has an array without a shape")
        total *= length
    return total


VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINBYTES"),
    *("SHORT_BINBYTES", "BINBYTES8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
MAKERS: dict[str, Callable[[list[Any]], None]] = {
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_TUPLE": _constant(()),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append,
    "SETITEM": _set_item,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
COLLECTORS: dict[str, Callable[[list[Any], list[Any]], None]] = {
    "TUPLE": lambda stack, collected: stack.append(tuple(collected)),
    "APPENDS": lambda stack, collected: _list(stack[-1]).extend(collected),
    "SETITEMS": _set_items,
}
