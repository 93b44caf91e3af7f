"""One self-contained HTML page from run folders: no network, no script that it needs, every number with its interval."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from darklens.errors import InputError
from darklens.files import write_atomic
from darklens.runs import Evaluation, Run

MAX_BYTES = 15 << 20
HEADLINE = {
    "accuracy": "accuracy",
    "auc_macro": "macro AUC",
    "average_precision": "macro AP",
    "f1_macro": "macro F1",
    "loss": "log loss",
    "ece": "ECE",
}
"""Headline metrics and what the page calls them."""
LOWER_IS_BETTER = ("loss", "ece", "brier")


def render_report(
    runs: Sequence[Run], out: Path, *, comparison: list[dict[str, Any]] | None = None, title: str = "darklens report"
) -> None:
    """Write the page.

    Args:
        runs: finished runs.
        out: HTML file.
        comparison: paired differences on the same images, as `evaluate.compare_predictions` gives them; a run is called best
            only where they exclude zero.
        title: heading.

    Raises:
        InputError: no runs, or one without results, or a page that grows too large.
    """
    if not runs:
        raise InputError("a report needs at least 1 finished run: give run folders")
    for run in runs:
        if run.metrics is None:
            raise InputError(f"{run.path} has no metrics yet: continue it with darklens train --resume {run.path}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval, "difference": difference, "verdict": verdict, "number": number}
    names = _names(runs)
    page = environment.get_template("report.html").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=HEADLINE,
        runs=[_view(run, name) for run, name in zip(runs, names, strict=True)],
        pairs=comparison or [],
        best=_best(comparison, len(runs)),
        data=_card(runs[0]),
        examples=_picture(runs[0], "examples.png"),
        same_data=all(run.data == runs[0].data for run in runs),
    )
    if len(page) > MAX_BYTES:
        raise InputError(
            f"the page would have {len(page) >> 20} MiB and the limit is {MAX_BYTES >> 20}: report on fewer runs at once"
        )
    write_atomic(Path(out), page)


def interval(value: dict[str, Any] | None) -> str:
    """Format a number with its interval: `0.9953 [0.9941, 0.9964]`."""
    if not value or value.get("value") is None:
        return "–"
    low, high = value.get("low"), value.get("high")
    return f"{value['value']:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else "")


def difference(value: dict[str, Any]) -> str:
    """Format a paired difference with its interval, signed."""
    if value.get("value") is None:
        return "–"
    return f"{value['value']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}]"


def verdict(row: dict[str, Any], key: str) -> str:
    """Say in words what a paired difference means."""
    value = row[key]
    if value.get("value") is None or not value["excludes_zero"]:
        return "indistinguishable"
    first_is_better = (value["value"] > 0) != (key in LOWER_IS_BETTER)
    return f"{row['a'] if first_is_better else row['b']} is better"


def number(value: object) -> str:
    """Format a count with thin separators, and anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _card(run: Run) -> dict[str, Any]:
    """Return the data card with every key that the page asks for."""
    keys = (
        "summary",
        "source",
        "shape",
        "pixel_scale",
        "flux_unit",
        "instrument",
        "cosmology",
        "disjoint",
        "notes",
        "how_to_repeat",
    )
    return dict.fromkeys((*keys, "splits", "classes")) | (run.data or {})


def _names(runs: Sequence[Run]) -> list[str]:
    short = [run.path.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _best(comparison: list[dict[str, Any]] | None, count: int) -> dict[str, str | None]:
    """Metric -> the run that beats every other by an interval that excludes zero, where there is one."""
    best = {}
    for key in HEADLINE:
        wins: dict[str, int] = {}
        for row in comparison or []:
            if key in row and verdict(row, key).endswith("is better"):
                winner = verdict(row, key).removesuffix(" is better")
                wins[winner] = wins.get(winner, 0) + 1
        best[key] = next((name for name, won in wins.items() if won == count - 1), None)
    return best


def _view(run: Run, name: str) -> dict[str, Any]:
    recipe = {k: v for k, v in run.recipe.items() if k != "also"}
    return {
        "name": name,
        "metrics": run.metrics,
        "model": run.model,
        "recipe": recipe,
        "calibration": run.calibration,
        "recipe_yaml": yaml.safe_dump(recipe, sort_keys=False),
        "provenance": run.provenance or {},
        "history": run.history,
        "figures": [f for f in _pictures(run) if f["file"] != "examples.png"],
        "evaluations": [
            {"name": e.name, "metrics": e.metrics, "data": e.data or {}, "figures": _pictures(e)}
            for e in run.evaluations
            if e.metrics
        ],
    }


def _pictures(place: Evaluation) -> list[dict[str, str]]:
    return [figure | {"source": _encoded(place.path / "figures" / figure["file"])} for figure in place.figures]


def _picture(place: Evaluation, file: str) -> dict[str, str] | None:
    return next((f for f in _pictures(place) if f["file"] == file), None)


def _encoded(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path} is missing: run darklens evaluate on its run again")
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
