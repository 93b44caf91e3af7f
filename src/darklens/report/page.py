"""One self-contained HTML page from run folders: nothing asked of the network, every number with its interval."""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from darklens.errors import InputError
from darklens.evaluate import wording
from darklens.evaluate.calibration import LIMITS
from darklens.files import write_atomic
from darklens.report.charts import history_charts, line_chart
from darklens.report.intervals import Track
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
DRAWN = ("auc_macro", "accuracy", "loss")
"""Those that are drawn, too."""
COMPARED = {key: label for key, label in HEADLINE.items() if key != "ece"} | {"brier": "Brier score"}
"""Metrics of the paired comparison."""
NOT_RECORDED = "not recorded"
SPELLED = ("No", "One", "Two", "Three", "Four", "Five", "Six")
INSTRUMENT = {
    "psf": "{}",
    "pixel_scale": '{}" a pixel',
    "exposure_time": "exposure {} s",
    "n_exposures": "{} exposure(s)",
    "zero_point": "zero point {} mag",
    "sky_mag_arcsec2": "sky {} mag/arcsec²",
    "read_noise": "read noise {} e-",
    "gain": "gain {} e-/ADU",
    "origin": "numbers from {}",
}
"""How the page says what an instrument is."""


def render_report(
    runs: Sequence[Run],
    out: Path,
    *,
    comparison: list[dict[str, Any]] | None = None,
    looks: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "darklens report",
) -> None:
    """Write the page.

    Args:
        runs: finished runs.
        out: HTML file.
        comparison: paired differences on the same images, as `evaluate.compare_predictions` gives them; a run is called best
            only where they exclude zero.
        looks: path of a run -> what can be looked at: `curves` (class -> points of its ROC curve), `mistakes` (items of
            `darklens.report.explanation.items`), `no_mistakes` (why there are none).
        title: heading.

    Raises:
        InputError: no runs, or one without results, or a page that grows too large.
    """
    if not runs:
        raise InputError("a report needs at least 1 finished run: give run folders")
    for run in runs:
        if run.metrics is None:
            raise InputError(f"{run} has no metrics yet: continue it with darklens train --resume {run}")
    views = [view_of(run, name) | _look(run, looks or {}) for run, name in zip(runs, names_of(runs), strict=True)]
    page = environment().get_template("report.html").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=HEADLINE,
        compared=COMPARED,
        limits=LIMITS,
        runs=views,
        panels=[panel_of(views, key) for key in DRAWN],
        pairs=[_pair(row) for row in comparison or []],
        best=best_of(comparison or [], len(runs)),
        cards=_cards(views),
        elsewhere=_elsewhere(views),
        searched=wording.search_rows([view["metrics"] for view in views]),
    )  # fmt: skip
    if len(page.encode()) > MAX_BYTES:
        raise InputError(
            f"the page would have {len(page) >> 20} MiB and the limit is {MAX_BYTES >> 20}: report on fewer runs at once"
        )
    write_atomic(Path(out), page)


def environment() -> jinja2.Environment:
    """Return the templates of pages, with the filters that say numbers."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "interval": wording.format_interval,
        "value": lambda number, digits=4: wording.format_interval(number, digits).split(" ")[0],
        "bounds": wording.format_bounds,
        "difference": lambda number: wording.format_difference(number).replace("-", "\N{MINUS SIGN}"),
        "verdict": wording.verdict,
        "spelled": lambda number: SPELLED[number] if number < len(SPELLED) else str(number),
        "count": lambda number: f"{number:,}" if isinstance(number, int) else wording.NOTHING,
    }
    return found


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with as much of the path as it takes to tell them apart."""
    paths = [run.path.resolve() for run in runs]
    short = [run.name if run.shipped else path.name for run, path in zip(runs, paths, strict=True)]
    if len(set(short)) == len(short):
        return short
    common = Path(os.path.commonpath(paths))
    return [str(path.relative_to(common)) for path in paths]


def view_of(run: Run, name: str) -> dict[str, Any]:
    """Return what a page says of a run."""
    recipe = {key: value for key, value in run.recipe.items() if key != "also"}
    pictures = pictures_of(run)
    return {
        "name": name,
        "metrics": run.metrics,
        "model": run.model,
        "summary": recipe.get("summary"),
        "recipe_yaml": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        "calibration": run.calibration,
        "provenance": run.provenance or {},
        "data": run.data or {},
        "examples": next((p for p in pictures if p["file"] == "examples.png"), None),
        "figures": [p for p in pictures if p["file"] != "examples.png"],
        "evaluations": [
            {"name": e.name, "metrics": e.metrics, "data": e.data or {}, "figures": pictures_of(e)}
            for e in run.evaluations
            if e.metrics
        ],
    }


def _look(run: Run, looks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the curves of a run that can be read off, and its mistakes that can be opened."""
    look = looks.get(str(run.path), {})
    roc = line_chart(
        "ROC, each class against the rest", "false positive rate", "true positive rate", look.get("curves", {}), log_x=True
    )
    return {
        "charts": ([roc] if roc else []) + (history_charts({run.path.name: run.history}) if run.history else []),
        "mistakes": look.get("mistakes", []),
        "no_mistakes": look.get("no_mistakes", ""),
        "preprocess_fits": (run.model.get("preprocess") or {}).get("input", "image") != "image",
    }


def panel_of(views: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return one metric of all runs, ready to be drawn."""
    numbers = [view["metrics"].get(key) for view in views]
    track = Track.around(numbers)
    rows = [{"name": v["name"], "number": n, "mark": track.mark(n)} for v, n in zip(views, numbers, strict=True)]
    return {"key": key, "label": HEADLINE[key], "rows": rows, "ticks": track.ticks()}


def _pair(row: dict[str, Any]) -> dict[str, Any]:
    """Return one paired comparison; each metric is drawn on a track of its own around zero."""
    lines = [
        {
            "label": label,
            "number": row[key],
            "p": row[key].get("p_value"),
            "mark": Track.around([row[key]], zero=True).mark(row[key]),
            "winner": wording.winner(row, key),
            "verdict": wording.verdict(row, key),
        }
        for key, label in COMPARED.items()
        if key in row
    ]
    return {"a": row["a"], "b": row["b"], "n": row["n"], "auc_macro": row["auc_macro"], "row": row, "lines": lines}


def best_of(comparison: list[dict[str, Any]], count: int) -> dict[str, str | None]:
    """Metric -> the run that beats every other by an interval that excludes zero, where there is one."""
    best: dict[str, str | None] = {}
    for key in HEADLINE:
        won = [wording.winner(row, key) for row in comparison if key in row]
        best[key] = next((name for name in won if name and won.count(name) == count - 1), None)
    return best


def _cards(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one data card for each distinct set of images, with the runs that used it."""
    cards: list[dict[str, Any]] = []
    for view in views:
        same = next((card for card in cards if _pathless(card["data"]) == _pathless(view["data"])), None)
        if same:
            same["runs"].append(view["name"])
        else:
            data = view["data"]
            cards.append(
                {
                    "runs": [view["name"]],
                    "data": data,
                    "what": data.get("summary") or data.get("source") or "origin not recorded",
                    "questions": questions_of(data),
                    "splits": data.get("splits") or {},
                    "classes": data.get("classes") or view["metrics"]["classes"],
                    "examples": view["examples"],
                }
            )
    return cards


def _pathless(data: dict[str, Any]) -> dict[str, Any]:
    """Return what a run says of its data without where the tables lay: checksums say whether they are the same."""
    splits = {
        name: {key: value for key, value in split.items() if key != "path" or not split.get("checksum")}
        for name, split in (data.get("splits") or {}).items()
    }
    return data | {"splits": splits}


def questions_of(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the fixed questions of the data card (Gebru et al. 2021) with their answers; none is left out."""
    shape, instrument, cosmology = (data.get(key) or {} for key in ("shape", "instrument", "cosmology"))
    split_rows = {name: split["rows"] for name, split in (data.get("splits") or {}).items()}
    scale = data.get("pixel_scale")
    size = " × ".join(map(str, shape)) + " (bands × rows × columns)" if shape else None
    field = f'; {scale:g}" a pixel, {shape[2] * scale:.3g}" × {shape[1] * scale:.3g}" on the sky' if shape and scale else ""
    many = f"{sum(split_rows.values()):,}: " + ", ".join(f"{rows:,} for {name}" for name, rows in split_rows.items())
    seen_by = [words.format(instrument[key]) for key, words in INSTRUMENT.items() if instrument.get(key) not in (None, "")]
    answers = {
        "What do the images show?": data.get("summary"),
        "How many are there?": many if split_rows else None,
        "How were they made?": data.get("source"),
        "How can they be made again?": data.get("how_to_repeat"),
        "How large are they?": size + field if size else None,
        "What is the unit of a pixel?": data.get("flux_unit"),
        "What instrument saw them?": ", ".join([str(instrument.get("name", "unnamed")), *seen_by]) if instrument else None,
        "In what cosmology?": ", ".join(f"{key} {value}".removeprefix("name ") for key, value in cosmology.items()),
        "Do the splits share images?": data.get("disjoint"),
        "What is known to be wrong with them?": data.get("notes"),
    }
    return [(question, str(answer) if answer else NOT_RECORDED) for question, answer in answers.items()]


def _elsewhere(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return evaluations on other data, those of one name together."""
    names = dict.fromkeys(e["name"] for view in views for e in view["evaluations"])
    found = []
    for name in names:
        rows = [
            {"run": v["name"], "metrics": e["metrics"], "data": e["data"]}
            for v in views
            for e in v["evaluations"]
            if e["name"] == name
        ]
        found.append({"name": name, "source": rows[0]["data"].get("source"), "rows": rows})
    return found


def pictures_of(place: Evaluation) -> list[dict[str, str]]:
    """Return the pictures of a folder with their captions, each as a data URI under `source`."""
    return [picture | {"source": _encoded(place.path / "figures" / picture["file"])} for picture in place.figures]


def _encoded(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path} is missing: run darklens evaluate on its run again")
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
