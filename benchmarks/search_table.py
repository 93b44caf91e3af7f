"""The table of a block whose networks search for something rare: what they find, and at the price of how many false alarms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.result_rows import OWN
from darklens.evaluate import format_difference, format_interval

Row = dict[str, Any]
NONE = "–"
FIGURES = {"auc": "AUC", "average_precision": "average precision", "tpr_0": "TPR_0", "tpr_10": "TPR_10"}
RATES = {"0.01": "TPR at FPR 1e-2", "0.001": "TPR at FPR 1e-3"}


def lines_of(rows: Iterable[Row], name: Any) -> tuple[list[str], list[list[str]]]:
    """Return header and lines: one line a row with a search, the best average precision first.

    Args:
        rows: of one block.
        name: returns what a row is called.
    """
    found = sorted((row for row in rows if row.get("search")), key=lambda r: (r["data"] != OWN, -_value(r, "average_precision")))
    header = ["recipe, model", "tested on", "positives of n", *FIGURES.values(), *RATES.values()]
    header += ["precision, recall at the F1 threshold", "AUC − ResNet-18", "AP − ResNet-18"]
    return header, [[name(row), row["data"], *_cells(row)] for row in found]


def leader(rows: Iterable[Row], name: Any) -> str:
    """Return who finds most, and whether its lead over each other row is told apart from none; empty without a search."""
    own = [row for row in rows if row.get("search") and row["data"] == OWN]
    if not own:
        return ""
    first = max(own, key=lambda row: _value(row, "average_precision"))
    numbers = ", ".join(f"{title} {format_interval(first['search'][key])}" for key, title in list(FIGURES.items())[:2])
    n = f"{first['search']['n_positives']:,} of {first['search']['n_positives'] + first['search']['n_negatives']:,} images"
    said = f"As a search, first is **{name(first)}**: {numbers}; positive are {n}."
    found = [(row, (row.get("paired") or {}).get("best")) for row in own if row is not first]
    behind = [(row, pair["search"]) for row, pair in found if pair and pair.get("search")]
    for row, pair in behind:
        told = " and ".join(f"{format_difference(pair[key])} of its {FIGURES[key]}" for key in ("auc", "average_precision"))
        sure = all(pair[key]["excludes_zero"] for key in ("auc", "average_precision"))
        said += f" {name(row)} is at {told}: {'both intervals exclude' if sure else 'not both intervals exclude'} zero."
    return said


def _value(row: Row, key: str) -> float:
    return row["search"][key]["value"]


def _cells(row: Row) -> list[str]:
    search, chosen = row["search"], (row["search"].get("at") or {}).get("f1")
    difference = ((row.get("paired") or {}).get("reference") or {}).get("search") or {}
    return [
        f"{search['n_positives']:,} of {search['n_positives'] + search['n_negatives']:,}",
        *(format_interval(search[key]) for key in FIGURES),
        *(format_interval(number) if (number := search["tpr_at_fpr"].get(rate)) else NONE for rate in RATES),
        f"{format_interval(chosen['precision'])}, {format_interval(chosen['recall'])}" if chosen else NONE,
        *(format_difference(difference[key]) if key in difference else NONE for key in ("auc", "average_precision")),
    ]
