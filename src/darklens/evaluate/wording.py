"""How numbers with uncertainties are said: one form for tables, figures, pages and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LOWER_IS_BETTER = ("loss", "brier", "ece")
NOTHING = "–"


def format_interval(number: Mapping[str, Any] | None, digits: int = 4) -> str:
    """Return a number with its interval, `0.9953 [0.9941, 0.9964]`; a dash where there is none.

    Args:
        number: `{"value", "low", "high"}`, each a float or None.
        digits: after the point; up to two more where the value would otherwise read as exactly 1 without being it.
    """
    if not number or number.get("value") is None:
        return NOTHING
    return f"{number['value']:.{_enough(number, digits)}f} {format_bounds(number, digits)}".rstrip()


def format_difference(number: Mapping[str, Any] | None, digits: int = 4) -> str:
    """Return a paired difference, always signed: `+0.0021 [-0.0004, +0.0046]`; arguments as in `format_interval`."""
    if not number or number.get("value") is None:
        return NOTHING
    return f"{number['value']:+.{_enough(number, digits)}f} {format_bounds(number, digits, '+')}".rstrip()


def format_bounds(number: Mapping[str, Any] | None, digits: int = 4, sign: str = "-") -> str:
    """Return the interval alone, `[0.9941, 0.9964]`; empty where there is none."""
    if not number or number.get("low") is None or number.get("high") is None:
        return ""
    digits = _enough(number, digits)
    return f"[{number['low']:{sign}.{digits}f}, {number['high']:{sign}.{digits}f}]"


def _enough(number: Mapping[str, Any], digits: int) -> int:
    value = number["value"]
    return next((d for d in range(digits, digits + 3) if value == 1 or round(value, d) != 1), digits)


def winner(row: Mapping[str, Any], key: str) -> str | None:
    """Return which of two classifiers is better at a metric, or None where the interval of their difference includes zero.

    Args:
        row: one row of `compare_predictions`.
        key: a metric.
    """
    number = row[key]
    if number.get("value") is None or not number["excludes_zero"]:
        return None
    return row["a"] if (number["value"] > 0) != (key in LOWER_IS_BETTER) else row["b"]


def verdict(row: Mapping[str, Any], key: str) -> str:
    """Say in words what a paired difference means."""
    better = winner(row, key)
    return f"{better} is better" if better else "indistinguishable"


SEARCH = {
    "average_precision": "average precision, {}",
    "tpr_at_fpr_0.01": "TPR at FPR 0.01",
    "tpr_at_fpr_0.001": "TPR at FPR 0.001",
    "tpr_at_fpr_0.0001": "TPR at FPR 0.0001",
    "tpr_0": "TPR before a false positive",
    "tpr_10": "TPR before ten",
}
"""Figures of a search for the second of two classes, and what they are called."""


def search_rows(metrics: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any] | None]]]:
    """Return label and numbers, one a run, of every figure of a search that a run has; nothing where none was a search.

    Args:
        metrics: `metrics.json` of each run.
    """
    found = [m.get("search") or {} for m in metrics]
    name = next((search["positive"] for search in found if search), "")
    flat = [search | {f"tpr_at_fpr_{rate}": n for rate, n in search.get("tpr_at_fpr", {}).items()} for search in found]
    rows = [(label.format(name), [one.get(key) for one in flat]) for key, label in SEARCH.items()]
    for rule in dict.fromkeys(rule for search in found for rule in search.get("at", {})):
        at = [search.get("at", {}).get(rule, {}) for search in found]
        rows += [(f"{figure} at the threshold {rule}", [one.get(figure) for one in at]) for figure in ("precision", "recall", "f1")]
    return [row for row in rows if any(row[1])]
