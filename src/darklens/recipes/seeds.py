"""One recipe with several seeds: what a training reaches, and how far that is luck.

    OUT/
      seed-0/ seed-1/ ...   each an ordinary run (with several networks, a folder of runs)
      data/                 the images, the same for all
      seeds.json            mean, spread, extremes and best seed of each headline metric

The seeds differ in initial weights, order and augmentation of the training images, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.files import write_json
from darklens.recipes.execution import Log, Progress, execute, silent
from darklens.recipes.schema import Recipe
from darklens.runs import RECIPE, SEEDS, Run
from darklens.train.distributed import Team, connect

HEADLINES = ("accuracy", "auc_macro", "average_precision", "loss", "ece", "gain_db", "psnr", "ssim")
LOW_IS_GOOD = ("loss", "ece")
MOST = 1000


def seeds_of(wanted: str | int | Iterable[int]) -> list[int]:
    """Return seeds: 5 means 0 to 4, "3,7,11" or [3, 7, 11] means these.

    Raises:
        InputError: no whole numbers, none at all, or one twice.
    """
    parts = str(wanted).split(",") if isinstance(wanted, str | int) else [str(v) for v in wanted]
    if not all(part.strip().isdigit() for part in parts) or not parts:
        raise InputError(f"--seeds {wanted!r}: give their number, for example 5, or the seeds themselves, for example 3,7,11")
    numbers = [int(part) for part in parts]
    if isinstance(wanted, str | int) and len(numbers) == 1:
        if not 1 <= numbers[0] <= MOST:
            raise InputError(f"--seeds {wanted} is outside 1 to {MOST}: give another number")
        return list(range(numbers[0]))
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--seeds {wanted!r} names a seed twice: give each once")
    return numbers


def execute_seeds(
    recipe: Recipe,
    out: str | Path,
    seeds: list[int],
    *,
    device: str = "auto",
    team: Team | None = None,
    budget_s: float | None = None,
    force: bool = False,
    log: Log = print,
    progress: Progress = silent,
) -> list[Run]:
    """Carry out a recipe with several seeds; what is finished is kept.

    Args:
        recipe: what to do; its own `train.seed` is replaced.
        out: the folder above the runs.
        seeds: at least one.
        device: "auto", "cpu", "cuda" or "mps"; for a team of one.
        team: the processes that train together.
        budget_s: seconds that each training may take.
        force: begin anew.
        log: receives one sentence at a time.
        progress: receives (phase, done, total).

    Returns:
        The runs, seed by seed; after an interruption the last one is not `complete`.

    Raises:
        InputError: the recipe and the data, or the folder, do not fit.
        WorkError: training diverged or a file could not be written; what was finished is kept.
    """
    team, out = team or connect(device), Path(out)
    if (out / RECIPE).is_file():
        raise InputError(f"{out} holds a single run: choose another --out for several seeds")
    found: dict[int, list[Run]] = {}
    _write(team, out, recipe, seeds, found)
    for k, seed in enumerate(seeds):
        if team.leads:
            log(f"seed {seed} ({k + 1} of {len(seeds)})")
        one = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
        place = out / f"seed-{seed}"
        found[seed] = execute(one, place, team=team, budget_s=budget_s, data=out / "data", force=force, log=log, progress=progress)
        _write(team, out, recipe, seeds, found)
        if not all(run.complete for run in found[seed]):
            break
    return [run for runs in found.values() for run in runs]


def _write(team: Team, out: Path, recipe: Recipe, seeds: list[int], found: dict[int, list[Run]]) -> None:
    if team.leads:
        write_json(out / SEEDS, summary(recipe, seeds, found))


def summary(recipe: Recipe, seeds: list[int], found: dict[int, list[Run]]) -> dict[str, Any]:
    """Return `seeds.json`: what is asked for, what is finished, and the spread of what it reached.

    Args:
        recipe: of all runs.
        seeds: asked for.
        found: seed -> its runs, one a network; those that are not finished do not count.

    Returns:
        `metrics` is the recipe's first network; further ones are in `also`, by name.
    """
    finished = [seed for seed, runs in found.items() if all(run.complete for run in runs)]
    names = [one.model.name for one in recipe.single()]
    per_network = [spread({seed: found[seed][k].metrics or {} for seed in finished}) for k in range(len(names))]
    return {
        "recipe": recipe.name,
        "model": names[0],
        "seeds": seeds,
        "finished": finished,
        "runs": [f"seed-{seed}" for seed in seeds],
        "metrics": per_network[0],
        "also": dict(zip(names[1:], per_network[1:], strict=True)),
    }


def spread(metrics: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean, sample standard deviation, extremes and best seed of each headline metric.

    Args:
        metrics: seed -> `metrics.json` of its run.

    Returns:
        Metric -> mean, sd (None for one seed), min, max, best_seed, best, n (seeds), images, and values by seed.
    """
    content = {}
    for key in HEADLINES:
        values = {seed: m[key]["value"] for seed, m in metrics.items() if m.get(key) and m[key]["value"] is not None}
        if not values:
            continue
        array = np.array(list(values.values()))
        best = (min if key in LOW_IS_GOOD else max)(values, key=values.__getitem__)
        content[key] = {
            "mean": float(array.mean()),
            "sd": float(array.std(ddof=1)) if len(array) > 1 else None,
            "min": float(array.min()),
            "max": float(array.max()),
            "best_seed": best,
            "best": values[best],
            "n": len(array),
            "images": next(iter(metrics.values()))[key].get("n"),
            "values": values,
        }
    return content
