"""What a search for clumps finds of those there are, and what it finds where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import number, resamples

BINS = (8.0, 8.25, 8.5, 8.75, 9.0, 9.25, 9.5, 9.75, 10.0)
"""Edges in log10 M_sun."""
ON_ARCS = 0.15
"""Arcsec from bright arcs within which a clump stands on them."""
FEWEST = 5
"""Clumps of a bin below which there is no figure."""
RESAMPLES = 1000


def match(found: np.ndarray, truth: np.ndarray, tolerance: float) -> np.ndarray:
    """Pair the detections of one image with its clumps, the best detection first.

    Args:
        found: `(m, 2)` places, best first.
        truth: `(k, 2)` places.
        tolerance: the farthest that a detection may be from its clump.

    Returns:
        `(m,)` index of the clump of each detection, -1 for a false one; a clump is found once.
    """
    pairs, free = np.full(len(found), -1), np.ones(len(truth), bool)
    for i, place in enumerate(found):
        distance = np.where(free, np.hypot(*(truth - place).T), np.inf) if len(truth) else np.zeros(0)
        if len(distance) and distance.min() <= tolerance:
            pairs[i] = int(distance.argmin())
            free[pairs[i]] = False
    return pairs


def detection_metrics(
    log10_m: np.ndarray, hit: np.ndarray, distance: np.ndarray, false_free: np.ndarray, false_all: np.ndarray
) -> dict[str, Any]:
    """Return completeness against mass and distance to the arcs, and false positives.

    Args:
        log10_m: `(k,)` of all clumps, M_sun.
        hit: `(k,)` whether each is found.
        distance: `(k,)` arcsec to the nearest bright arc.
        false_free: `(n,)` detections of each image without clump.
        false_all: `(m,)` false detections of each image, clumps or not.

    Returns:
        `completeness`: `all`, `on_arcs`, `off_arcs`, each a list of bins `from`, `to`, `value`, `low`, `high`, `n`; `by_distance`,
        the same over distance, of clumps of 10^9 M_sun or more; `log10_m_50` of `all` and `log10_m_50_on_arcs`, the mass of which
        half are found, with its bootstrap interval, None where no half is reached; `false_positives` an image without clump, and
        `false_all`.
    """
    near, heavy = distance <= ON_ARCS, log10_m >= 9
    parts = {"all": np.ones(len(hit), bool), "on_arcs": near, "off_arcs": ~near}
    return {
        "completeness": {name: _bins(log10_m[part], hit[part], BINS) for name, part in parts.items()},
        "by_distance": _bins(distance[heavy], hit[heavy], (0.0, 0.05, 0.15, 0.3, 0.5, 1.0)),
        "log10_m_50": half_mass(log10_m, hit),
        "log10_m_50_on_arcs": half_mass(log10_m[near], hit[near]),
        "false_positives": mean(false_free),
        "false_all": mean(false_all),
    }


def _bins(values: np.ndarray, hit: np.ndarray, edges: Sequence[float]) -> list[dict[str, Any]]:
    rows = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if (n := int(inside.sum())) >= FEWEST:
            rows.append({"from": low, "to": high} | proportion(int(hit[inside].sum()), n))
    return rows


def half_mass(log10_m: np.ndarray, hit: np.ndarray, seed: int = 0) -> dict[str, Any] | None:
    """Return log10 of the mass at which half of the clumps are found, by a logistic curve; None where it is not reached."""
    value = _half(log10_m, hit)
    if value is None:
        return None
    rng = np.random.default_rng(seed)
    again = [_half(log10_m[rows], hit[rows]) for rows in rng.integers(0, len(hit), (200, len(hit)))]
    samples = np.array([np.inf if v is None else v for v in again])
    low, high = np.quantile(samples, (0.025, 0.975), method="nearest")
    return {"value": value, "low": float(low), "high": float(high) if np.isfinite(high) else None, "n": len(hit)}


def _half(log10_m: np.ndarray, hit: np.ndarray) -> float | None:
    from sklearn.linear_model import LogisticRegression

    if len(hit) < 2 * FEWEST or hit.all() or not hit.any():
        return None
    curve = LogisticRegression(C=1e3).fit(log10_m[:, None] - 9, hit)
    slope = float(curve.coef_[0, 0])
    found = 9 - float(curve.intercept_[0]) / slope if slope > 0 else np.inf
    return found if log10_m.min() <= found <= log10_m.max() else None


def mean(values: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Return the mean of numbers with its bootstrap interval; where all are zero, at most 3/n (the rule of three)."""
    values = np.asarray(values, float)
    if not len(values):
        return {"value": None, "low": None, "high": None, "n": 0}
    if not values.any():
        return {"value": 0.0, "low": 0.0, "high": min(1.0, 3 / len(values)), "n": len(values)}
    counts = np.concatenate(list(resamples(np.zeros(len(values)), RESAMPLES, seed)))
    return number(values.mean(), counts @ values / len(values), len(values), 0.95)
