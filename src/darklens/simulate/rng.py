"""Random numbers by address: every row of a simulated table is a pure function of `(seed, row, stream)`.

A counter-based generator (Philox; Salmon et al. 2011, SC'11) is keyed by the address, so a row is the same whatever the batch
size, the number of workers or the order of work, and a killed simulation continues as if nothing had happened.

What is drawn once a row comes from a numpy generator (`row_generator`). What is drawn for every pixel comes from Philox4x32-10 at
the pixel's own counter, for whole batches: in C++ (`rng.cpp`, single precision), and in numpy where there is no compiler (double).
Both have the same random bits; numbers agree to rounding.
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
SERIES_FROM = 10.0
"""Poisson mean from which on counts come from an expansion, also in `rng.cpp`."""
KINDS = ("normals", "poisson", "exposure", "twice")
"""What the kernel draws, in its own order."""
NOT_FINITE = "expected counts that are not finite: a flux is infinite or not a number; check the scene's parameters"


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
        Two arrays `(B, *shape)` of float32.
    """
    full = (len(keys), *shape)
    both = np.empty((2, *full), np.float32)
    if not _compiled("normals", keys, full, both[0], both[1], lane=lane):
        both[:] = [w.reshape(full) for w in _box_muller(*_words(keys, int(np.prod(shape)), lane))]
    return both[0], both[1]


def draw_poisson(keys: np.ndarray, mean: np.ndarray, lane: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw Poisson counts, and a standard normal number independent of each.

    A normal number is sent through the inverse of the Poisson distribution: its expansion in `1/sqrt(mean)` (Giles 2016, ACM
    TOMS 42, 9) with two more terms, fitted, from a mean of `SERIES_FROM` on, and the sum of its terms below.

    Args:
        keys: `(B,)`, see `row_keys`.
        mean: `(B, ...)`; where it is not positive the count is zero.
        lane: another number, other numbers.

    Returns:
        Counts and normal numbers, float32, of the shape of `mean`.

    Raises:
        InputError: a mean is not finite.
    """
    mean = np.ascontiguousarray(mean, np.float32)
    counts, normal = np.empty((2, *mean.shape), np.float32)
    if not _compiled("poisson", keys, mean.shape, counts, normal, mean, lane=lane):
        first, second = draw_exactly(keys, mean, lane)
        counts[...], normal[...] = first, second
    return counts, normal


def draw_exposure(keys: np.ndarray, flux: np.ndarray, t: float, sky: float, read_noise: float) -> np.ndarray:
    """Draw `(Poisson(t (flux + sky)) + N(0, read_noise)) / t - sky` in one pass, float32 of the shape of `flux`.

    Raises:
        InputError: an expected count is not finite.
    """
    flux = np.ascontiguousarray(flux, np.float32)
    out = np.empty_like(flux)
    if not _compiled("exposure", keys, flux.shape, out, None, flux, t=np.full(len(flux), t), sky=sky, noise=read_noise):
        counts, normal = draw_exactly(keys, (flux + np.float64(sky)) * t)
        out[...] = (counts + normal * read_noise) / t - sky
    return out


def draw_twice(keys: np.ndarray, flux: np.ndarray, t: np.ndarray, rms: float) -> np.ndarray:
    """Draw `Poisson(t (I + N(0, sqrt(I/t)) + N(0, rms)))` in one pass, float32 of the shape of the flux I; t is `(B,)`.

    Raises:
        InputError: an expected count is not finite.
    """
    flux = np.ascontiguousarray(flux, np.float32)
    out = np.empty_like(flux)
    if not _compiled("twice", keys, flux.shape, out, None, flux, t=t, noise=rms):
        per_row = t.reshape(-1, *(1,) * (flux.ndim - 1))
        first, second = (w.reshape(flux.shape) for w in _box_muller(*_words(keys, flux[0].size, 0)))
        out[...] = draw_exactly(keys, per_row * (flux + second * rms) + first * np.sqrt(per_row * np.maximum(flux, 0)), 1)[0]
    return out


def draw_exactly(keys: np.ndarray, mean: np.ndarray, lane: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Do what `draw_poisson` does, in numpy and double precision: the reference.

    Raises:
        InputError: a mean is not finite.
    """
    if not np.isfinite(mean).all():
        raise InputError(NOT_FINITE)
    first, second = _box_muller(*_words(keys, mean[0].size, lane))
    return poisson_inverse(mean.astype(np.float64), first.reshape(mean.shape)), second.reshape(mean.shape)


def _compiled(
    kind: str,
    keys: np.ndarray,
    shape: tuple[int, ...],
    out: np.ndarray,
    second: np.ndarray | None,
    flux: np.ndarray | None = None,
    *,
    lane: int = 0,
    t: np.ndarray | None = None,
    sky: float = 0.0,
    noise: float = 0.0,
) -> bool:
    """Fill `out` (and `second`) by the C++ kernel; False where there is none."""
    library = native.library(SOURCE)
    if library is None:
        return False
    arrays = [None if a is None else np.ascontiguousarray(a, d) for a, d in ((keys, np.uint64), (t, np.float32))]
    rows, per_row, *rest = (None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (*arrays, flux, out, second))
    reals = ctypes.c_float(sky), ctypes.c_float(noise)
    pixels = int(np.prod(shape[1:]))
    if library.record(KINDS.index(kind), len(keys), pixels, rows, ctypes.c_uint32(lane), per_row, *reals, *rest):
        raise InputError(NOT_FINITE)
    return True


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
    # Two more orders, fitted to the inverse of the gamma function for means from 10 and |w| up to 5.5: 3.4e-6 off at most.
    third = w * (0.0169922 + square * (-0.002067184 + square * -0.001638699))
    fourth = -0.0006227976 + square * (-0.01192506 + square * (0.0002064398 + square * 0.0007853003))
    q += third / (m * root) + fourth / (m * m)
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


def _mix(value: np.ndarray | np.uint64) -> np.ndarray:
    """Scramble 64 bits (the last step of splitmix64; Steele, Lea & Flood 2014, OOPSLA)."""
    x = np.asarray(value, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _check(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} is outside 0 to {MAX_SEED}: give a non-negative integer")
