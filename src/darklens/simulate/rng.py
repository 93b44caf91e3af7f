"""Random numbers by address: every row of a simulated table is a pure function of `(seed, row, stream)`.

A counter-based generator (Philox; Salmon et al. 2011, SC'11) is keyed by the address, so a row is the same whatever the batch
size, the number of workers or the order of work, and a killed simulation continues as if nothing had happened.

What is drawn once a row comes from a numpy generator (`row_generator`). What is drawn for every pixel comes from Philox4x32-10 at
the pixel's own counter, for whole batches: in C++ (`rng.cpp`), and in numpy where there is no compiler. Both have the same random
bits; numbers agree to rounding.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from darklens import native
from darklens.errors import InputError

SOURCE = Path(__file__).with_name("rng.cpp")
MAX_SEED = 2**63 - 1
LOW = np.uint64(0xFFFFFFFF)
SERIES_FROM = 32.0
"""Poisson mean from which on counts come from an expansion."""


def row_generator(seed: int, row: int, stream: str) -> np.random.Generator:
    """Return the generator of one row.

    Args:
        seed: seed of the table, 0 to 2^63 - 1.
        row: index of the row in the table.
        stream: what the numbers are for ("scene", "noise"), so that a scene does not change when its noise does.

    Raises:
        InputError: the seed is out of range.
    """
    _check(seed)
    words = np.random.SeedSequence([seed, row, zlib.crc32(stream.encode())]).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def row_keys(seed: int, rows: Sequence[int], stream: str) -> np.ndarray:
    """Return the key of each row's numbers, `(B,)` uint64: a hash of seed, row and stream.

    Raises:
        InputError: the seed is out of range.
    """
    _check(seed)
    with np.errstate(over="ignore"):
        return _mix(_mix(_mix(np.uint64(seed)) ^ np.uint64(zlib.crc32(stream.encode()))) ^ np.asarray(rows, np.uint64))


def draw_normals(keys: np.ndarray, shape: tuple[int, ...], lane: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw two independent standard normal numbers for every pixel.

    Args:
        keys: `(B,)`, see `row_keys`.
        shape: shape of a row.
        lane: another number, other numbers.

    Returns:
        Two arrays `(B, *shape)` of float64.
    """
    return _draw(keys, int(np.prod(shape)), lane, None, shape)


def draw_poisson(keys: np.ndarray, mean: np.ndarray, lane: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw Poisson counts, and a standard normal number independent of each.

    A normal number is sent through the inverse of the Poisson distribution: its expansion in `1/sqrt(mean)` (Giles 2016, ACM
    TOMS 42, 9), whose distribution function is off by less than 4e-6 from a mean of `SERIES_FROM` on, and the sum of its terms
    below.

    Args:
        keys: `(B,)`, see `row_keys`.
        mean: `(B, ...)`; where it is not positive the count is zero.
        lane: another number, other numbers.

    Returns:
        Counts and normal numbers, float64, of the shape of `mean`.

    Raises:
        InputError: a mean is not finite.
    """
    mean = np.ascontiguousarray(mean, np.float64)
    if not np.isfinite(mean).all():
        raise InputError("expected counts that are not finite: a flux is infinite or not a number; check the scene's parameters")
    return _draw(keys, mean[0].size, lane, mean, mean.shape[1:])


def _draw(
    keys: np.ndarray, pixels: int, lane: int, mean: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    keys = np.ascontiguousarray(keys, np.uint64)
    library = native.library(SOURCE)
    if library is None:
        uniform, angle = _words(keys, pixels, lane)
        first, second = _box_muller(uniform, angle)
        first = first if mean is None else poisson_inverse(mean.reshape(first.shape), first)
    else:
        first, second = np.empty((2, len(keys), pixels))
        addresses = [None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (keys, mean, first, second)]
        rows, *arrays = addresses
        library.draw.restype = None
        library.draw(len(keys), pixels, rows, ctypes.c_uint32(lane), ctypes.c_double(SERIES_FROM), *arrays)
    return first.reshape(len(keys), *shape), second.reshape(len(keys), *shape)


def _words(keys: np.ndarray, pixels: int, lane: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two words of 32 bits for every pixel: the first half of the pixels has words 0 and 1 of a block, the rest 2 and 3."""
    half = (pixels + 1) // 2
    words = philox(keys[:, None], np.arange(half, dtype=np.uint64), lane)
    return np.concatenate(words[::2], 1)[:, :pixels], np.concatenate(words[1::2], 1)[:, :pixels]


def philox(key: np.ndarray, counter: np.ndarray, lane: int = 0) -> list[np.ndarray]:
    """Return the four words of Philox4x32-10 at counters `(counter, lane, 0, 0)`, as uint64 below 2^32."""
    a, k0, k1 = np.broadcast_arrays(counter.astype(np.uint64), key & LOW, key >> np.uint64(32))
    b, c, d = np.full_like(a, lane), np.zeros_like(a), np.zeros_like(a)
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b, c, d = (q >> np.uint64(32)) ^ b ^ k0, q & LOW, (p >> np.uint64(32)) ^ d ^ k1, p & LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & LOW, (k1 + np.uint64(0xBB67AE85)) & LOW
    return [a, b, c, d]


def _box_muller(uniform: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r = np.sqrt(-2 * np.log((uniform + 0.5) * 2.0**-32))
    angle = angle.astype(np.uint32).view(np.int32) * (2.0**-31 * np.pi)
    return r * np.cos(angle), r * np.cos(angle - 0.5 * np.pi)


def poisson_inverse(mean: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the Poisson counts of these means at the quantiles of standard normal numbers w."""
    m = np.maximum(mean, SERIES_FROM)
    root, square = np.sqrt(m), w * w
    q = m + root * w + (2 + square) / 6 - w * (2 + square) / (72 * root) + (-16 + square * (7 + 3 * square)) / (810 * m)
    counts = np.maximum(np.floor(q), 0.0)
    low = mean < SERIES_FROM
    counts[low] = _by_sum(np.maximum(mean[low], 0.0), ndtr(w[low]))
    return counts


def _by_sum(mean: np.ndarray, u: np.ndarray) -> np.ndarray:
    term = np.exp(-mean)
    total, counts = term.copy(), np.zeros_like(mean)
    for n in range(1, 120):
        more = u > total
        if not more.any():
            break
        term = term * mean / n
        total, counts = total + term, counts + more
    return counts


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble 64 bits (the last step of splitmix64; Steele, Lea & Flood 2014, OOPSLA)."""
    x = np.asarray(x, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _check(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} is outside 0 to {MAX_SEED}: give a non-negative integer")
