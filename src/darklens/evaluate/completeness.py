"""What a search finds of the lenses there are: completeness against Einstein radius, brightness, signal-to-noise ratio and seeing.

One number hides that nearly all that is missed is small or faint. Bins hold equally many lenses; intervals are Wilson's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from darklens.evaluate.proportion import wilson

AGAINST = {
    "theta_E": "Einstein radius [arcsec]",
    "source_mag": "unlensed source [AB mag]",
    "snr": "signal-to-noise ratio of the arcs",
    "seeing": "seeing, FWHM [arcsec]",
}
"""Truth columns, and what an axis calls them."""
MAP = ("theta_E", "snr")
"""The two columns of the map."""
FEWEST = 5
"""Lenses of a bin below which there is no figure."""
BINS = {"curve": 8, "map": 5}


def completeness(found: np.ndarray, truth: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fraction of lenses that are found, in bins of what they are.

    Args:
        found: `(n,)` bool, of the lenses alone.
        truth: column -> `(n,)`, NaN where unknown; columns that nothing is known of are left out.

    Returns:
        `curves`: column -> list of bins, each `from`, `to`, `value`, `low`, `high`, `n`; `map`, where both of its columns are
        known: `x`, `y` (names), `x_edges`, `y_edges`, and `value`, `low`, `high`, `n` as rows of y, null where fewer than 5 lenses
        fall. Empty where nothing is known.
    """
    found = np.asarray(found, bool)
    known = {name: truth[name] for name in AGAINST if name in truth and np.isfinite(truth[name]).sum() >= 2 * FEWEST}
    curves = {name: _curve(found, values) for name, values in known.items()}
    curves = {name: bins for name, bins in curves.items() if bins}
    both = {} if not set(MAP) <= set(curves) else {"map": _map(found, *(known[name] for name in MAP))}
    return {"curves": curves} | both if curves else {}


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return edges of bins that hold equally many of the values, fewer bins where there are few or equal ones."""
    finite = values[np.isfinite(values)]
    return np.unique(np.quantile(finite, np.linspace(0, 1, max(1, min(bins, finite.size // FEWEST)) + 1)))


def _bin(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each value, -1 for unknown ones."""
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isfinite(values), inside, -1)


def _curve(found: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
    edges = _edges(values, BINS["curve"])
    if len(edges) < 2:
        return []
    which = _bin(values, edges)
    return [
        {"from": float(edges[b]), "to": float(edges[b + 1])} | _fraction(found[which == b])
        for b in range(len(edges) - 1)
        if (which == b).any()
    ]


def _map(found: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    edges = _edges(x, BINS["map"]), _edges(y, BINS["map"])
    column, row = _bin(x, edges[0]), _bin(y, edges[1])
    cells = [[found[(row == j) & (column == i)] for i in range(len(edges[0]) - 1)] for j in range(len(edges[1]) - 1)]
    grids = {key: [[_fraction(cell)[key] for cell in line] for line in cells] for key in ("value", "low", "high", "n")}
    return {"x": MAP[0], "y": MAP[1], "x_edges": edges[0].tolist(), "y_edges": edges[1].tolist()} | grids


def _fraction(hits: np.ndarray) -> dict[str, Any]:
    n = int(hits.size)
    if n < FEWEST:
        return {"value": None, "low": None, "high": None, "n": n}
    low, high = wilson(int(hits.sum()), n)
    return {"value": float(hits.mean()), "low": low, "high": high, "n": n}
