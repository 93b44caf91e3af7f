"""Read object arrays, which `.npy` files hold as pickles, without executing anything.

A pickle is a program: it may import any function and call it. Here it runs on a machine that knows five names, and
those only by stand-ins that build plain arrays from plain bytes; no code of numpy or of Python's library is reached.

1. The opcodes are scanned before any runs: only those that numpy's own pickles need are let through (no dictionary, no
   set, no persistent id, no old-style instance), and no index or length may exceed what a file of this size can mean.
2. Every name is looked up in a table of stand-ins; any other is refused by name.
3. A stand-in checks type, byte order and shape, and that exactly the declared number of bytes is there.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Literal

import numpy as np

from darklens.errors import InputError

_OPCODES = frozenset(
    [
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "POP",
        "POP_MARK",
        "DUP",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "BININT",
        "BININT1",
        "BININT2",
        "FLOAT",
        "BINFLOAT",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
        "GET",
        "BINGET",
        "LONG_BINGET",
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
        "BUILD",
    ]
)
_OPERATIONS_AT_MOST = 1 << 16
_TYPE = re.compile(r"[biuf][1-8]|f16|O8?")


class Refused(Exception):
    """The pickle asks for something that is not an array; the text says what."""


def read_object_array(data: bytes, name: str) -> list:
    """Read the pickle of an object array.

    Args:
        data: the pickle.
        name: what to call it in an error.

    Returns:
        The array's items in C order: numeric arrays, numbers, or None.

    Raises:
        InputError: the pickle asks for anything else, or is damaged.
    """
    try:
        _scan(data)
        found = _Unpickler(data).load()
    except Refused as error:
        raise InputError(
            f"{name} is a pickle that asks for {error}; nothing of it was run: only numeric arrays are read, "
            "so save the image with numpy.save as float32"
        ) from None
    except Exception as error:  # a pickle can break the machine in any way it likes
        raise InputError(f"{name} holds a damaged pickle ({type(error).__name__}): download or write it again") from None
    if not isinstance(found, _Array) or found.items is None:
        raise InputError(f"{name} holds a pickle that is no object array: save the image with numpy.save as float32")
    return [item.array if isinstance(item, _Array) else item for item in found.items]


def _scan(data: bytes) -> None:
    for seen, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name not in _OPCODES:
            raise Refused(f"the operation {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > 2 * len(data):
            raise Refused(f"a memo of {argument} places")
        if seen > _OPERATIONS_AT_MOST:
            raise Refused(f"more than {_OPERATIONS_AT_MOST} operations")


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._known = {name: _StandIn(make) for name, make in _STAND_INS.items()}

    def find_class(self, module: str, name: str) -> _StandIn:
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if wanted not in self._known:
            raise Refused(repr(f"{module}.{name}"[:80]))
        return self._known[wanted]

    def persistent_load(self, pid: object) -> None:
        raise Refused("a persistent id")


class _StandIn:
    """Something to call in place of a function of numpy. It has no state that a pickle could set."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("a change of a function")


class _Type:
    """Stands in for `numpy.dtype`."""

    __slots__ = ("order", "text")

    def __init__(self, text: object, *_: object) -> None:
        if not isinstance(text, str) or not _TYPE.fullmatch(text):
            raise Refused(f"values of type {text[:40]!r}" if isinstance(text, str) else "values of an unknown type")
        self.text, self.order = text, "|"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or not isinstance(state[1], str) or state[1] not in "<>|=":
            raise Refused("values of an unknown byte order")
        self.order = state[1]

    @property
    def is_object(self) -> bool:
        return self.text.startswith("O")

    def numbers(self, data: object) -> np.ndarray:
        """Turn bytes into a flat array of numbers."""
        dtype = np.dtype(self.order + self.text)
        if self.is_object or not isinstance(data, bytes | bytearray) or len(data) % dtype.itemsize:
            raise Refused("numbers made of something else than bytes")
        return np.frombuffer(data, dtype)


class _Array:
    """Stands in for `numpy.ndarray`: either `array` (numbers) or `items` (objects, in C order) is set."""

    __slots__ = ("array", "items")

    def __init__(self, *_: object) -> None:
        self.array: np.ndarray | None = None
        self.items: list | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array without shape, type and data")
        _, shape, dtype, fortran, data = state
        shape = _shape(shape)
        if not isinstance(dtype, _Type):
            raise Refused("an array without a type")
        if dtype.is_object:
            self.items = _items(data, shape)
        else:
            self.array = _shaped(dtype.numbers(data), shape, "F" if fortran is True else "C")


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise Refused("an array of an impossible shape")
    return shape


def _shaped(numbers: np.ndarray, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    if math.prod(shape) != numbers.size:
        raise Refused(f"{min(math.prod(shape), 10**30)} numbers where {numbers.size} are there")
    return numbers.reshape(shape, order=order)


def _items(data: object, shape: tuple[int, ...]) -> list:
    if not isinstance(data, list) or len(data) != math.prod(shape):
        raise Refused("an object array whose items are not there")
    for item in data:
        if isinstance(item, _Array) and item.items is not None:
            raise Refused("an object array inside an object array")
        if not isinstance(item, _Array | np.generic | float | int | None):
            raise Refused(f"an item of type {type(item).__name__.strip('_')}")
    return data


def _scalar(dtype: object, data: object) -> np.generic:
    numbers = dtype.numbers(data) if isinstance(dtype, _Type) else np.empty(0)
    if numbers.size != 1:
        raise Refused("a number that is not one")
    return numbers[0]


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    if not isinstance(dtype, _Type):
        raise Refused("an array without a type")
    array = _Array()
    array.array = _shaped(dtype.numbers(data), _shape(shape), "F" if isinstance(order, str) and order == "F" else "C")
    return array


def _encode(text: object, encoding: object) -> bytes:
    """Stand in for `_codecs.encode`, by which pickles of protocol 2 carry bytes."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("an encoding other than latin1")
    return text.encode("latin1")


_STAND_INS: dict[str, Callable] = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "_codecs.encode": _encode,
}
