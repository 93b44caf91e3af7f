"""A blurred source on pixels: its dense columns, and what they weigh at the nodes that each pixel of the sky sees.

Both are a C++ kernel where there is a compiler, SciPy's products elsewhere, which give the same numbers.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from scipy import sparse

from darklens import native

SOURCE = Path(__file__).with_name("blurring.cpp")


def onto_pixels(blur: sparse.csr_array, seen: sparse.csr_array) -> np.ndarray:
    """Return `blur seen`, `(N, n)`.

    Args:
        blur: `(N, R)` from pixels of the sky to those that count.
        seen: `(R, n)` which nodes a pixel of the sky sees.
    """
    library = native.library(SOURCE)
    if library is None:
        return (blur @ seen).toarray()
    out = np.zeros((blur.shape[0], seen.shape[1]))
    arrays = [*_parts(blur), *_parts(seen), out]
    library.onto_pixels(ctypes.c_int(len(out)), *map(_address, arrays), ctypes.c_long(out.shape[1]))
    return out


def back_to_sky(blur: sparse.csr_array, dense: np.ndarray, seen: sparse.csr_array) -> np.ndarray:
    """Return `blur^T dense`, `(R, n)`, where `seen` has an entry; what is elsewhere means nothing.

    Args:
        blur: `(N, R)`.
        dense: `(N, n)`.
        seen: `(R, n)`.
    """
    library = native.library(SOURCE)
    if library is None:
        return blur.T @ dense
    start, column, _ = _parts(seen)
    dense, values = np.ascontiguousarray(dense), np.zeros(seen.nnz)
    arrays = [*_parts(blur), start, column, dense]
    library.back_to_sky(ctypes.c_int(len(dense)), *map(_address, arrays), ctypes.c_long(dense.shape[1]), _address(values))
    return sparse.csr_array((values, column, start), shape=seen.shape).toarray()


def _parts(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where rows begin, columns and numbers, as the kernel reads them."""
    parts = zip((matrix.indptr, matrix.indices, matrix.data), (np.int32, np.int32, np.float64), strict=True)
    start, column, number = (np.ascontiguousarray(array, dtype) for array, dtype in parts)
    return start, column, number


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
