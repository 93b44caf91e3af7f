"""How numbers with uncertainties are said: one form for tables, figures, pages and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
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
