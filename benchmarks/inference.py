"""Rows of the block "inference": what runs of inference reached on their test images, a row a parameter, beside published errors.

    python -m benchmarks.inference [RUN ...]

Without runs all finished ones below `runs/`. One JSON line a row on stdout, and `runs/rows/inference-NAME.json` with the rows of a
run. Of parameters with a uniform prior there is a row for populations as well: sets of 50 test lenses, whose true values follow a
Gaussian of known mean, and how often the inferred mean's intervals hold it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.task_rows import script_row
from darklens.errors import DarklensError, InputError
from darklens.files import write_json
from darklens.runs import RECIPE, Run

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "runs" / "rows"
BLOCK = "inference"
OWN = "own test split"
PUBLISHED = {"model-i": 0.2737, "model-ii": 0.2162, "model-iii": 0.1262}
"""Mean absolute error in log10 of the axion's mass, by preset."""


def main(arguments: list[str]) -> int:
    """Write the rows of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    options = parser.parse_args(arguments)
    try:
        runs = [Run.open(path) for path in options.runs] or found_runs(ROOT / "runs")
        for run in runs:
            rows = inference_rows(run)
            write_json(ROWS / f"inference-{run.path.resolve().name}.json", rows)
            print("\n".join(json.dumps(row) for row in rows))
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def found_runs(folder: Path) -> list[Run]:
    """Return every finished run of inference below a folder that is no tiny one."""
    runs = [Run.open(place.parent) for place in sorted(folder.rglob(RECIPE))]
    return [run for run in runs if run.complete and not run.recipe.get("tiny") and run.model.get("task") == BLOCK]


def inference_rows(run: Run) -> list[dict[str, Any]]:
    """Return a row for each parameter of a run, and for each population, as `docs/results.json` has them.

    Raises:
        InputError: the run is of another task, or not finished.
    """
    metrics = run.metrics
    if metrics is None or metrics.get("task") != BLOCK:
        raise InputError(
            f"{run.path} is no finished run of inference: give one, or finish it with darklens train --resume {run.path}"
        )
    rows = [_row(run, metrics, name, _figures(run, metrics, name), OWN) for name in metrics["parameters"]]
    for name, found in metrics.get("population", {}).items():
        figures = {key: found[key] for key in ("bias", "coverage_68", "coverage_95", "width")}
        rows.append(_row(run, metrics, name, figures, f"mean over {found['lenses']} test lenses, {found['sets']} sets"))
    return rows


def _figures(run: Run, metrics: dict[str, Any], name: str) -> dict[str, Any]:
    own = metrics["parameters"][name]
    kept = ("mae", "prior_mae", "bias", "scatter", "width", "coverage_68", "coverage_95", "ks", "critical")
    figures = {key: own[key] for key in kept} | {"tarp_ks": metrics["tarp"]["ks"]}
    if "unusual" in metrics:
        figures["unusual"] = metrics["unusual"]
    if name == "log10_m_axion" and run.model.get("preset") in PUBLISHED:
        figures["published_mae"] = PUBLISHED[run.model["preset"]]
    return figures


def _row(run: Run, metrics: dict[str, Any], name: str, figures: dict[str, Any], data: str) -> dict[str, Any]:
    made, rates = run.provenance or {}, [row["images_per_s"] for row in run.history]
    more = {
        "recipe": run.recipe["name"],
        "variant": name,
        "published": {"mae": figures["published_mae"]} if "published_mae" in figures else None,
        "parameters": made.get("parameters"),
        "images_per_s": {
            "train": round(sum(rates) / len(rates), 1) if rates else None,
            "predict": made.get("predict_images_per_s"),
        },
        "seeds": 1,
        "seed": made.get("seed"),
        "training_images": run.data["splits"]["train"]["rows"] if run.data else None,
        "epochs": {"run": made.get("epochs"), "asked": run.recipe["train"]["epochs"]},
        "minutes": round(made["training_seconds"] / 60, 1) if "training_seconds" in made else None,
        "budget": (made.get("budget") or {}).get("text"),
    }
    return script_row(BLOCK, f"{run.model['name']}, {metrics['posterior']}", data, figures, made, **more)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
