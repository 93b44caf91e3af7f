"""The page about runs that tell no classes apart: numbers with intervals beside their baselines, pictures, data, provenance.

A run of any task is shown: every number of `metrics.json` that has an interval, in the order of its `headline` where it has one,
and of every baseline in its `methods`; the rest is left to the pictures.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.files import write_atomic
from darklens.report.charts import history_charts
from darklens.report.page import MAX_BYTES, NOT_RECORDED, environment, names_of, questions_of, view_of
from darklens.runs import Run


def tells_classes(run: Run) -> bool:
    """Whether a finished run is a classifier's."""
    return "accuracy" in (run.metrics or {})


def render_plain(runs: Sequence[Run], out: Path, *, title: str = "darklens report") -> None:
    """Write the page.

    Args:
        runs: finished runs of any task.
        out: HTML file.
        title: heading.

    Raises:
        InputError: a page that grows too large.
    """
    views = [
        view_of(run, name)
        | {"tables": tables(run.metrics or {}), "questions": questions_of(run.data or {}), "made": _made(run)}
        | {"charts": history_charts({run.path.name: run.history}) if run.history else []}
        for run, name in zip(runs, names_of(runs), strict=True)
    ]
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = environment().get_template("plain.html").render(title=title, date=date, runs=views)
    if len(page.encode()) > MAX_BYTES:
        raise InputError(
            f"the page would have {len(page) >> 20} MiB and the limit is {MAX_BYTES >> 20}: report on fewer runs at once"
        )
    write_atomic(Path(out), page)


def _made(run: Run) -> list[tuple[str, str]]:
    """Return where a run comes from, in words."""
    known = run.provenance or {}
    asked = {
        "finished": known.get("date"),
        "command": known.get("command"),
        "commit": known.get("commit"),
        "seed": known.get("seed"),
        "device": known.get("device"),
        "number format": known.get("precision"),
        "epochs": known.get("epochs"),
        "epoch of the weights": known.get("best_epoch"),
        "training": known.get("training_seconds") and f"{known['training_seconds'] / 60:.1f} min",
        "versions": ", ".join(f"{name} {version}" for name, version in (known.get("versions") or {}).items()),
    }
    return [(name, str(value) if value not in (None, "") else NOT_RECORDED) for name, value in asked.items()]


def tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return tables of numbers: `caption`, `columns`, and `rows` of a label and a number for each column."""
    keys = metrics.get("headline") or [key for key, value in metrics.items() if is_number(value)]
    own = [(words(key), [metrics[key]]) for key in keys if is_number(metrics.get(key))]
    found: list[dict[str, Any]] = [{"caption": "Value and 95% interval on the test set.", "columns": ["value"], "rows": own}]
    groups = {"": metrics.get("methods") or {}} | {f" against {kind}": g for kind, g in (metrics.get("against") or {}).items()}
    for what, methods in groups.items():
        labels = dict.fromkeys(key for numbers in methods.values() for key in numbers if is_number(numbers[key]))
        if labels:
            rows = [(name, [numbers.get(key) for key in labels]) for name, numbers in methods.items()]
            caption = f"Every method on the same test images{what}, with 95% intervals."
            found.append({"caption": caption, "columns": [words(key) for key in labels], "rows": rows})
    return found


def is_number(value: Any) -> bool:
    """Whether a value of `metrics.json` is a number with an interval."""
    return isinstance(value, dict) and "value" in value


def words(key: str) -> str:
    """Return the key of a metric as a reader sees it."""
    names = {"psnr": "PSNR (dB)", "ssim": "SSIM", "gain_db": "gain over bicubic (dB)", "ssim_gain": "SSIM less bicubic's"}
    return names.get(key, key.replace("_", " "))
