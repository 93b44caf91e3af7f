"""Rows of `docs/results.json`: from run folders, from rows that other scripts left, and from estimated bounds.

A row is identified by block, recipe, model, variant and data; a newer one takes the place of an older one, and rows of runs that
are not there any more are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.published import system_of
from benchmarks.task_rows import PUBLISHED, baseline_rows, block_of_task, task_metrics
from darklens.errors import InputError
from darklens.evaluate import compare_predictions
from darklens.recipes import load, names
from darklens.runs import RECIPE, SEEDS, Evaluation, Run

Row = dict[str, Any]
OWN = "own test split"
LIMIT = "limit"
HEADLINE = {"accuracy": "accuracy", "auc_macro": "macro AUC", "average_precision": "macro AP", "loss": "log loss", "ece": "ECE"}
TITLES = {
    "model-i": "Model I (noise drawn twice, as published)",
    "model-ii": "Model II (noise-free, as published)",
    "model-iii": "Model III (noise-free, as published)",
    "model-ii-noisy": "Model II scenes with noise",
    "model-iii-noisy": "Model III scenes with noise",
    "common-test": "Common test (no / sphere / vort)",
    "binary": "Substructure or none, with and without a leak",
    "lens-finding": "Lens finding",
    "lessons": "A lesson: the dropout CNN",
    "super-resolution": "Super-resolution",
    "substructure-survives": "Super-resolution: does the substructure survive?",
    "generation": "Generation",
    "sampling": "Generation: how many steps does an image need?",
    "lessons-of-generated": "Generation: what a classifier learns from generated images",
    "foundation": "Foundation model: learning without labels",
    "few-labels": "Foundation model: few labels",
    "class-of-zeros": "Foundation model: what a class of zeros does to an accuracy",
    "inference": "Inference",
    "localisation": "Localisation of substructure",
    "robustness": "Robustness",
    "unusual": "Images unlike those of the training: how often they are flagged",
    "learning-curve": "Learning curve",
    "shipped": "Shipped with darklens",
}
LESSONS = ("dropout-cnn-3class",)
LOOKED_UP = ("encoder", "encoder_options", "weights")
"""Options of a network that are found out when a run begins."""
REFERENCE = "resnet18"
"""Model that the others of a block are compared with, image by image."""
PAIRED = ("accuracy", "auc_macro", "loss")
SEARCHES = ("lens-finding",)
"""Blocks, by preset, whose classes are unequal: what counts is the search for the rare one."""
ELSEWHERE = ("learning-curve", "real-lenses", "cross-survey", "active-learning")
"""Folders of scripts that write their trainings' figures on pages of their own."""
SEARCH = ("auc", "average_precision")
"""Figures of a search that are compared image by image."""


def found_runs(folder: Path) -> list[Run]:
    """Return every finished run below a folder that is no tiny one, belongs to a block, and has no table of its own."""
    places = sorted(p.parent for p in folder.rglob(RECIPE) if p.relative_to(folder).parts[0] not in ELSEWHERE)
    runs = [Run.open(place) for place in places]
    return [run for run in runs if run.complete and not run.recipe.get("tiny") and ("single_logit" in run.model or task_block(run))]


def task_block(run: Run) -> str | None:
    """Return the block of a run that does not tell classes apart, None for a classifier."""
    return block_of_task(run.recipe["train"].get("task", ""))


def block_of(run: Run) -> str:
    """Return the block of the table that a run belongs to; one on a user's files stands with the preset of its recipe."""
    recipe = run.recipe
    if block := task_block(run):
        return block
    if recipe["name"] in LESSONS:
        return "lessons"
    preset = (run.data or {}).get("preset") or recipe["data"].get("preset")
    if preset is None and recipe["name"] in names():
        preset = load(recipe["name"]).data.preset
    return "binary" if run.model["single_logit"] and preset not in SEARCHES else preset or "other"


def rows_of(run: Run, block: str | None = None) -> list[Row]:
    """Return the rows of a run: its own test split, then its evaluations on other data."""
    block = block or block_of(run)
    if task_block(run):
        row = _row(run, run, block, OWN) | {"metrics": task_metrics(run, block), "published": PUBLISHED.get(run.recipe["name"])}
        return [row, *baseline_rows(run, row)]
    return [_row(run, run, block, OWN)] + [_row(run, e, block, e.name) for e in run.evaluations if e.metrics]


def _row(run: Run, place: Evaluation, block: str, data: str) -> Row:
    made, metrics, recipe = run.provenance or {}, place.metrics or {}, run.recipe
    system = system_of(block, recipe["name"], run.model["name"])
    rates = [row["images_per_s"] for row in run.history]
    budget = made.get("budget") or {}
    return {
        "block": block,
        "model": run.model["name"],
        "recipe": run.name if run.shipped else recipe["name"],
        "variant": variant_of(run),
        "data": data,
        "metrics": {key: metrics[key] for key in (*HEADLINE, "auc", "unusual") if key in metrics},
        "search": searched(metrics) if block_of(run) in SEARCHES else None,
        "published": system.as_dict() if system and data == OWN else None,
        "parameters": made.get("parameters"),
        "images_per_s": {
            "train": round(sum(rates) / len(rates), 1) if rates else None,
            "predict": made.get("predict_images_per_s"),
        },
        "seeds": 1,
        "seed": made.get("seed"),
        "training_images": run.data["splits"]["train"]["rows"] if run.data else None,
        "fresh": bool((recipe.get("data") or {}).get("fresh")),
        "epochs": {"run": made.get("epochs"), "asked": budget.get("epochs_asked") or recipe["train"]["epochs"]},
        "minutes": round(made["training_seconds"] / 60, 1) if "training_seconds" in made else None,
        "budget": budget.get("text"),
        "command": made.get("command"),
        "commit": made.get("commit"),
        "machine": _machine(made.get("machine") or {}),
        "date": made.get("date"),
    }


def called(recipe: str, model: str, variant: str) -> str:
    """Return what a training is called where others are compared with it."""
    return f"{recipe}, {model}" + (f" ({variant})" if variant else "")


def variant_of(run: Run) -> str:
    """Return in what a run differs from its recipe, as far as rows are told apart by it."""
    if (run.data or {}).get("leaked"):
        return "leaked"
    recipe, found = run.recipe, []
    if recipe.get("as_published"):
        found.append("as published")
    if recipe["name"] in names():
        own = load(recipe["name"])
        usual = own.published.get("train.epochs", own.train.epochs) if found else own.train.epochs
        if recipe["train"]["epochs"] != usual:
            found.append(f"{recipe['train']['epochs']} epochs instead of {usual}")
        if not own.also and run.model["name"] == own.model.name:
            options = run.model.get("options", {})
            found += _changed(options, own.model.options) + [f"no {key}" for key in own.model.options if key not in options]
            found += _changed(recipe.get("preprocess", {}), own.preprocess.model_dump())
            found += _changed({"auxiliary": recipe["train"].get("auxiliary")}, {"auxiliary": own.train.auxiliary})
    return ", ".join(found)


def _changed(given: Row, usual: Row) -> list[str]:
    """Return what an ablation set otherwise than its recipe does; what was looked up, or was not known yet, is no change."""
    return [
        f"{key}={json.dumps(value).strip(chr(34))}"
        for key, value in given.items()
        if value is not None and key not in LOOKED_UP and value != usual.get(key)
    ]


def searched(metrics: Row) -> Row | None:
    """Return what a run measured of its search for the rare class, without the curves; None where it made none."""
    search = metrics.get("search")
    return search and {key: value for key, value in search.items() if key not in ("purity", "notes")}


def _machine(machine: Row) -> str:
    return f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('accelerator') or 'no GPU'}"


def with_seeds(run: Run, rows: list[Row]) -> list[Row]:
    """Enter mean and spread over the seeds of the folder that the run lies in, if it is one of several seeds."""
    found = next((p / SEEDS for p in (run.path.parent, run.path.parent.parent) if (p / SEEDS).is_file()), None)
    if found is None:
        return rows
    content = json.loads(found.read_text())
    spread = content["metrics"] if content["model"] == run.model["name"] else content["also"].get(run.model["name"], {})
    spread = {key: {k: number[k] for k in ("mean", "sd", "min", "max", "n")} for key, number in spread.items()}
    return [row | {"seeds": len(content["finished"])} | ({"spread": spread} if row["data"] == OWN else {}) for row in rows]


def seeds_first(runs: Iterable[Run]) -> list[Run]:
    """Leave out all seeds of a training but the first: its figures have intervals, the others count in mean and spread."""
    kept, seen = [], set()
    for run in sorted(runs, key=lambda r: ((r.provenance or {}).get("seed") or 0, str(r.path))):
        parents = [p for p in (run.path.parent, run.path.parent.parent) if (p / SEEDS).is_file()]
        key = (str(parents[0]), run.model["name"]) if parents else str(run.path)
        if key not in seen:
            kept.append(run)
        seen.add(key)
    return kept


def paired(runs: list[Run], old: list[Row]) -> dict[str, Row]:
    """Compare the runs that were tested on the same images with their ResNet-18 and with their best.

    Args:
        runs: finished ones; those that saw the test images in training are left out.
        old: rows, whose differences are taken over where neither run is newer.

    Returns:
        Run path -> `{"reference": difference or None, "best": difference or None}`, each the run minus the other.
    """
    known = {d["dates"]: d for row in _with_pairs(old) for d in (row["paired"] or {}).values() if d}
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        data = run.data or {}
        checksum = ((data.get("splits") or {}).get("test") or {}).get("checksum")
        if checksum and not data.get("leaked") and not task_block(run):
            groups.setdefault((checksum, tuple(run.metrics["classes"])), []).append(run)
    found: dict[str, Row] = {}
    for group in groups.values():
        best = max(group, key=lambda run: run.metrics["auc_macro"]["value"])
        references = [run for run in group if run.model["name"] == REFERENCE]
        reference = max(references, key=lambda run: run.metrics["auc_macro"]["value"], default=None)
        for run in group:
            others = {"reference": reference, "best": best}
            found[str(run.path)] = {k: _difference(run, o, known) for k, o in others.items() if o and o.path != run.path}
    return found


def _with_pairs(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.get("paired")]


def _difference(run: Run, other: Run, known: dict[str, Row]) -> Row | None:
    """Return the paired difference of two runs, None where their images are not the same after all."""
    dates = " and ".join(f"{r.path.name} {(r.provenance or {}).get('date')}" for r in (run, other))
    if dates in known:
        return known[dates]
    try:
        (pair,) = compare_predictions({k: (r.predictions(), r.metrics["classes"]) for k, r in (("a", run), ("b", other))})
    except InputError:
        return None
    named = {"to": called(other.recipe["name"], other.model["name"], variant_of(other)), "n": pair["n"], "dates": dates}
    found = {key: _kept(pair[key]) for key in PAIRED}
    return named | found | ({"search": {key: _kept(pair["search"][key]) for key in SEARCH}} if "search" in pair else {})


def _kept(difference: Row) -> Row:
    return {key: difference[key] for key in ("value", "low", "high", "excludes_zero")}


def limit_rows(folder: Path) -> list[Row]:
    """Return a row for each bound that `darklens limit` estimated, `folder/PRESET.json`."""
    rows = []
    for path in sorted(p for p in folder.glob("*.json") if not p.name.endswith(".partial.json")):  # those are under way
        bound = json.loads(path.read_text())
        metrics = {key: bound[key] for key in ("accuracy", "auc_macro", "auc") if bound.get(key)}
        kept = {key: bound.get(key) for key in ("method", "seed", "command", "commit", "machine", "date")}
        kept["machine"] = _machine(kept["machine"]) if isinstance(kept["machine"], dict) else kept["machine"]
        named = {"block": bound["preset"], "model": LIMIT, "recipe": "darklens limit", "variant": "", "data": "simulations"}
        rows.append(named | {"metrics": metrics} | kept)
    return rows


def script_rows(folder: Path) -> list[Row]:
    """Return the rows that other scripts left, `folder/NAME.json`, each a list."""
    return [row for path in sorted(folder.glob("*.json")) for row in json.loads(path.read_text())]


def merge(old: list[Row], new: list[Row]) -> list[Row]:
    """Return all rows in a fixed order; of two of one name the one of more seeds, and of as many the newer one."""
    keyed: dict[tuple, Row] = {}
    for row in [*old, *new]:
        key = _key(row)
        if key not in keyed or _rank(row) >= _rank(keyed[key]):
            keyed[key] = row
    order = list(TITLES)
    return sorted(keyed.values(), key=lambda row: (order.index(row["block"]) if row["block"] in order else len(order), *_key(row)))


def _rank(row: Row) -> tuple[int, str]:
    return row.get("seeds") or 1, row.get("date") or ""


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name) or "") for name in ("block", "recipe", "model", "variant", "data"))
