"""Read `.npy` and `.npz` files.

DeepLense images circulate in three layouts: a plain array `(y, x)`; a pickled object array `[image, axion_mass]`, the
mass in eV; and an array with a leading band axis `(bands, y, x)`. All become the same record. Arrays of more axes, or
with a leading axis longer than any set of bands, are stacks of images and give one record each, read one at a time.
"""

from __future__ import annotations

import errno
import math
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from darklens.data.options import Options
from darklens.data.pickled import read_object_array
from darklens.data.record import Record
from darklens.data.stack import Shaped, images_of, layout_of
from darklens.errors import InputError

IMAGE_KEYS = ("image", "images", "data", "img", "x", "X", "arr_0")
NPZ_BYTES_AT_MOST = 4 << 30
UNPACKED_BYTES_AT_MOST = 128 << 20
INFLATION_AT_MOST = 100
"""A member larger than `UNPACKED_BYTES_AT_MOST` that was packed so many times smaller is no image but a bomb."""
_PARSER = threading.Lock()
"""Python 3.11's literal parser, which numpy uses on headers, now and then fails when threads use it at once (CPython gh-106905)."""


def read_npy(path: Path, options: Options) -> Iterator[Record]:
    """Read the images of a `.npy` file.

    Raises:
        InputError: truncated, hostile, or no image.
    """
    with open(path, "rb") as file:
        shape, fortran, dtype = _header(file, str(path))
        if dtype.hasobject:
            image, truth = _object_image(read_object_array(file.read(), str(path)), math.prod(shape), str(path))
            yield from images_of(image, path, options, truth=truth)
            return
        _check_size(os.fstat(file.fileno()).st_size - file.tell(), shape, dtype, str(path))
        if layout_of(shape, str(path), options.layout) == "stack":  # mapped: it may be larger than memory
            array: np.ndarray = np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")
        else:
            array = np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C")
    yield from images_of(array, path, options)


def probe_npy(path: Path, options: Options) -> Shaped:
    """Return shape and number of the images of a `.npy` file; only an object array is read for it."""
    with open(path, "rb") as file:
        shape, _, dtype = _header(file, str(path))
        if not dtype.hasobject:
            return Shaped.of(shape, str(path), options)
        image, truth = _object_image(read_object_array(file.read(), str(path)), math.prod(shape), str(path))
        return Shaped.of(image.shape, str(path), options, truth=tuple(truth))


def read_npz(path: Path, options: Options) -> Iterator[Record]:
    """Read the images of one array of a `.npz` file.

    Raises:
        InputError: not a zip file, damaged, or no array that is clearly the image.
    """
    array, truth = _npz_array(path, options)
    yield from images_of(array, path, options, truth=truth)


def probe_npz(path: Path, options: Options) -> Shaped:
    """Return shape and number of the images of a `.npz` file."""
    array, truth = _npz_array(path, options)
    return Shaped.of(array.shape, str(path), options, truth=tuple(truth))


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, Fortran order and type of what follows; nothing is executed."""
    try:
        version = npy_format.read_magic(file)
        with _PARSER:
            if version == (1, 0):
                return npy_format.read_array_header_1_0(file)
            if version == (2, 0):
                return npy_format.read_array_header_2_0(file)
    except Exception as error:  # numpy parses the header as a Python literal, which can fail in any way
        raise InputError(f"{name} is empty, truncated, or no .npy file: download or write it again") from error
    raise InputError(f"{name} is a .npy file of version {version}, for records with fields: save one image array")


def _check_size(there: int, shape: tuple[int, ...], dtype: np.dtype, name: str) -> None:
    due = math.prod(shape) * dtype.itemsize
    if there != due:
        raise InputError(f"{name} holds {there} of {due} bytes, it is truncated or damaged: download or write it again")


def _object_image(items: list, declared: int, name: str) -> tuple[np.ndarray, dict[str, float]]:
    """Take image and axion mass from the items of an object array."""
    if len(items) != declared:
        raise InputError(f"{name} declares {declared} items and holds {len(items)}: download or write it again")
    arrays = [item for item in items if isinstance(item, np.ndarray) and item.ndim >= 2]
    numbers = [float(item) for item in items if _is_number(item)]
    if len(arrays) != 1 or len(numbers) > 1:
        raise InputError(
            f"{name} is an object array of {len(arrays)} images and {len(numbers)} numbers: "
            "[image, axion_mass] is read, so save the image alone"
        )
    truth = {}
    if numbers and math.isfinite(numbers[0]) and numbers[0] > 0:
        truth = {"m_axion": numbers[0], "log10_m_axion": math.log10(numbers[0])}
    return arrays[0], truth


def _is_number(item: object) -> bool:
    return isinstance(item, float | int | np.number) or (isinstance(item, np.ndarray) and item.ndim == 0)


def _npz_array(path: Path, options: Options) -> tuple[np.ndarray, dict[str, float]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")}
            key = _choose(archive, members, path, options.key)
            return _member(archive, members[key], f"{path}[{key}]")
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a member that is said to begin before the file does
            raise
        raise InputError(f"{path} is a truncated or damaged .npz file: download or write it again") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{path} is a truncated or damaged .npz file: download or write it again") from error


def _choose(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: Path, key: str | None) -> str:
    if key is not None:
        if key not in members:
            raise InputError(f"{path} has no array {key!r}: choose one of {', '.join(members) or 'none'}")
        return key
    found = next((k for k in IMAGE_KEYS if k in members), None)
    if found is not None:
        return found
    images = [k for k, member in members.items() if _rank(archive, member, f"{path}[{k}]") >= 2]
    if len(images) == 1:
        return images[0]
    if not members:
        raise InputError(f"{path} holds no array: give a file that numpy.savez wrote")
    raise InputError(f"{path} holds {len(members)} arrays, none named image: choose one of {', '.join(members)} by --key")


def _rank(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> int:
    with archive.open(member) as file:
        shape, _, _ = _header(file, name)
    return len(shape)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> tuple[np.ndarray, dict[str, float]]:
    if member.file_size > NPZ_BYTES_AT_MOST:
        raise InputError(f"{name} unpacks to {member.file_size} bytes, the limit is {NPZ_BYTES_AT_MOST}: save it as .npy")
    if member.file_size > UNPACKED_BYTES_AT_MOST and member.file_size > INFLATION_AT_MOST * member.compress_size:
        raise InputError(
            f"{name} unpacks from {member.compress_size} to {member.file_size} bytes, the limit of that size is "
            f"{INFLATION_AT_MOST} times as many: save it as .npy"
        )
    with archive.open(member) as file:
        shape, fortran, dtype = _header(file, name)
        data = file.read()
    if dtype.hasobject:
        return _object_image(read_object_array(data, name), math.prod(shape), name)
    _check_size(len(data), shape, dtype, name)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C"), {}
