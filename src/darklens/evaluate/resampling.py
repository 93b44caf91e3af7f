"""Bootstrap resamples within each class, and numbers with the intervals that they give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK = 100
"""Resamples worked on at once."""


def resamples(labels: np.ndarray, n_boot: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks `(B, n)` of how often each image was drawn, with replacement within its class."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    for start in range(0, n_boot, BLOCK):
        rows = min(BLOCK, n_boot - start)
        counts = np.zeros((rows, len(labels)))
        for members in groups:
            drawn = rng.integers(0, members.size, (rows, members.size)) + members.size * np.arange(rows)[:, None]
            counts[:, members] = np.bincount(drawn.ravel(), minlength=rows * members.size).reshape(rows, -1)
        yield counts


def number(value: float, spread: np.ndarray, n: int, level: float) -> dict[str, Any]:
    """Return `{"value", "low", "high", "n"}` with the percentile interval of a spread; what is not finite becomes None."""
    finite = spread[np.isfinite(spread)]
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2]) if finite.size else (np.nan, np.nan)
    return {"value": plain(value), "low": plain(low), "high": plain(high), "n": n}


def difference(value: float, spread: np.ndarray, n: int, level: float) -> dict[str, Any]:
    """Return a paired difference as `number` does, with `excludes_zero`, and `p_value`, twice the smaller side of zero."""
    found = number(value, spread, n, level)
    found["excludes_zero"] = found["low"] is not None and not found["low"] <= 0 <= found["high"]
    finite = spread[np.isfinite(spread)]
    sides = min((finite <= 0).mean(), (finite >= 0).mean()) if finite.size else np.nan
    found["p_value"] = plain(min(1.0, 2 * max(sides, 1 / max(finite.size, 1))))
    return found


def plain(value: float) -> float | None:
    """Return a number that JSON can hold, None for one that is not finite."""
    return float(value) if np.isfinite(value) else None
