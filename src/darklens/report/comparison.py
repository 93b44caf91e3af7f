"""The comparison page: any number of runs of any tasks, side by side, one self-contained HTML page."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.evaluate import wording
from darklens.files import write_atomic
from darklens.report.charts import history_charts, line_chart
from darklens.report.page import HEADLINE, MAX_BYTES, best_of, environment, names_of, panel_of
from darklens.report.plain import is_number, tells_classes, words
from darklens.runs import Run

DRAWN = ("auc_macro", "accuracy", "loss", "average_precision")
"""Metrics that are drawn."""


def render_comparison(
    groups: Sequence[Sequence[Run]],
    out: Path,
    *,
    pairs: Mapping[str, list[dict[str, Any]]],
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    title: str = "darklens comparison",
) -> None:
    """Write the page.

    Args:
        groups: runs that were tested on the same images stand in one group; classifiers first.
        out: HTML file.
        pairs: path of a group's first run -> paired differences in the group, as `evaluate.compare_predictions` gives them.
        curves: path of a run -> class -> points of its ROC curve.
        title: heading.

    Raises:
        InputError: a run without results, or a page that grows too large.
    """
    runs = [run for group in groups for run in group]
    names = dict(zip((str(run.path) for run in runs), names_of(runs), strict=True))
    views = [_group(group, names, pairs.get(str(group[0].path), []), curves) for group in groups]
    page = environment().get_template("compare.html").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rows=[_row(run, names[str(run.path)]) for run in runs],
        groups=views,
        headline=HEADLINE,
        classifiers=any(tells_classes(run) for run in runs),
    )  # fmt: skip
    if len(page.encode()) > MAX_BYTES:
        raise InputError(
            f"the page would have {len(page) >> 20} MiB and the limit is {MAX_BYTES >> 20}: compare fewer runs at once"
        )
    write_atomic(Path(out), page)


def _metrics(run: Run) -> dict[str, Any]:
    """Return what a run reached on its test images.

    Raises:
        InputError: it is not there yet.
    """
    if run.metrics is None:
        raise InputError(f"{run} has no metrics yet: continue it with darklens train --resume {run}")
    return run.metrics


def _row(run: Run, name: str) -> dict[str, Any]:
    """Return one line of the table of all runs."""
    made, metrics = run.provenance or {}, _metrics(run)
    return {
        "name": name,
        "task": run.model.get("task", "classification"),
        "model": run.model["name"],
        "data": (run.data or {}).get("preset") or Path(str((run.data or {}).get("source") or "not recorded")).name,
        "n": metrics.get("n"),
        "parameters": made.get("parameters"),
        "minutes": made["training_seconds"] / 60 if made.get("training_seconds") else None,
        "rate": made.get("predict_images_per_s"),
        "metrics": metrics,
    }


def _group(
    group: Sequence[Run],
    names: Mapping[str, str],
    pairs: list[dict[str, Any]],
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
) -> dict[str, Any]:
    """Return what the page says of runs that were tested on the same images."""
    data, own = group[0].data or {}, [names[str(run.path)] for run in group]
    histories = {names[str(run.path)]: run.history for run in group if run.history}
    classes, metrics = tells_classes(group[0]), [_metrics(run) for run in group]
    views = [{"name": name, "metrics": numbers} for name, numbers in zip(own, metrics, strict=True)]
    what = data.get("preset") or data.get("summary") or group[0].name
    found: dict[str, Any] = {
        "title": f"{what}: {', '.join(metrics[0]['classes'])}" if classes else what,
        "names": own,
        "n": metrics[0].get("n"),
        "charts": [],
        "panels": [],
        "matrix": [],
        "tables": [],
    }
    if classes:
        best = best_of(pairs, len(group))
        found["panels"] = [(panel_of(views, key), best.get(key)) for key in DRAWN]
        found["matrix"] = _matrix(own, pairs)
        kinds = dict.fromkeys(name for run in group for name in curves.get(str(run.path), {}))
        for kind in kinds:
            lines = {names[str(run.path)]: curves.get(str(run.path), {}).get(kind, []) for run in group}
            rates = "false positive rate", "true positive rate"
            found["charts"].append(line_chart(f"ROC of {kind} against the rest", *rates, lines, log_x=True))
    else:
        listed = dict.fromkeys(key for numbers in metrics for key in numbers.get("headline") or numbers)
        keys = [key for key in listed if any(is_number(numbers.get(key)) for numbers in metrics)]
        found["tables"] = [(words(key), [numbers.get(key) for numbers in metrics]) for key in keys]
    found["charts"] = [chart for chart in found["charts"] if chart] + (history_charts(histories) if histories else [])
    return found


def _matrix(names: Sequence[str], pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each run its difference in macro AUC from every other, row minus column, with what it means."""
    known = {(row["a"], row["b"]): row for row in pairs}
    rows = []
    for a in names:
        cells: list[dict[str, Any] | None] = []
        for b in names:
            row, sign = (known.get((a, b)), 1) if (a, b) in known else (known.get((b, a)), -1)
            if row is None:
                cells.append(None)
                continue
            number = row["auc_macro"]
            turned = number if sign > 0 else {"value": -number["value"], "low": -number["high"], "high": -number["low"]}
            cells.append({"number": turned, "winner": wording.winner(row, "auc_macro") == a})
        rows.append({"name": a, "cells": cells})
    return rows if pairs else []
