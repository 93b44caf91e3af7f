"""A fraction of a number of images, with its exact interval: a bootstrap of 0 in 100 would say that it is never."""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.errors import InputError


def proportion(hits: int, n: int, level: float = 0.95) -> dict[str, Any]:
    """Return a fraction with the interval of Clopper & Pearson (1934, Biometrika 26, 404).

    Args:
        hits: how many.
        n: of how many.
        level: of the interval.

    Returns:
        `{"value", "low", "high", "n"}`.

    Raises:
        InputError: not 0 <= hits <= n, or none at all.
    """
    from scipy.stats import beta  # takes a second to import, and most of those who import this need no interval

    if not 0 <= hits <= n or n < 1:
        raise InputError(f"{hits} of {n} is no fraction: give at least one image and no more hits than images")
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return {"value": hits / n, "low": low, "high": high, "n": int(n)}


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of Wilson (1927, J. Am. Stat. Assoc. 22, 209) of a fraction: short, and right on average, for curves."""
    middle, half = (hits + z * z / 2) / (n + z * z), z * np.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return float(middle - half), float(middle + half)
