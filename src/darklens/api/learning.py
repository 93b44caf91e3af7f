"""Trainings: one recipe, and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from darklens.api.comparing import report
from darklens.api.trained_run import TrainedRun

Progress = Callable[[str, int, int], None]


def _silent(phase: str, done: int, total: int) -> None:
    """Show no progress."""


def train(
    recipe: str | Path | dict,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    set: Iterable[str] = (),
    seeds: int | str | Iterable[int] | None = None,
    budget: str | float | None = None,
    device: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
    force: bool = False,
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> TrainedRun | list[TrainedRun]:
    """Carry out a recipe: images, training, calibration, one evaluation on the test split.

    Args:
        recipe: name, YAML file or plain data.
        data: train on this instead of the recipe's data.
        out: run folder; `runs/NAME` by default. What is there is continued.
        set: overrides, `"train.epochs=5"`.
        seeds: how many seeds, or which; `out` is then a folder of runs, `seed-0`, `seed-1`, ..., with `seeds.json`.
        budget: time that a training may take, "30m" or seconds; epochs and schedule are cut to it.
        device: "auto", "cpu", "cuda" or "mps".
        devices: how many of them on each machine, or "auto"; with more than one, the calling script is run by each process.
        nodes: machines, under SLURM.
        force: begin anew.
        log: receives sentences.
        progress: receives (phase, done, total).

    Returns:
        The run; a list of runs if the recipe has several networks, or with several seeds.

    Raises:
        InputError: recipe, data or folder do not fit.
    """
    from darklens.recipes import execute, execute_seeds, seeds_of
    from darklens.recipes import load as read
    from darklens.train.budget import duration
    from darklens.train.distributed import connect

    chosen = read(recipe, _overrides(set, data))
    out, numbers = out or Path("runs") / chosen.name, None if seeds is None else seeds_of(seeds)
    budget_s = None if budget is None else duration(budget)
    team = connect(device, devices, nodes)
    settings: dict[str, Any] = {"team": team, "budget_s": budget_s, "force": force, "log": log, "progress": progress}
    runs = execute(chosen, out, **settings) if numbers is None else execute_seeds(chosen, out, numbers, **settings)
    opened = [TrainedRun(run.path) for run in runs]
    return opened[0] if numbers is None and len(opened) == 1 else opened


def _overrides(settings: Iterable[str], data: str | Path | None) -> list[str]:
    """Return overrides, with those that replace the recipe's data: nobody draws files anew every epoch."""
    return [*settings, *([] if data is None else ["data.preset=null", f"data.path={data}", "data.fresh=false"])]


def tune(
    recipe: str | Path | dict,
    trials: int = 20,
    *,
    budget: str | float | None = None,
    data: str | Path | None = None,
    set: Iterable[str] = (),
    out: str | Path | None = None,
    device: str = "auto",
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> dict[str, Any]:
    """Search for better settings of a recipe, judged on validation images; the test images are never looked at.

    Args:
        recipe: name, YAML file or plain data; its section `tune` says what is searched.
        trials: that the study shall have in all; those that it has already count.
        budget: time after which no further trial is begun, "30m" or seconds.
        data: train on this instead of the recipe's data.
        set: overrides, `"train.epochs=5"`.
        out: folder of the study; `runs/NAME-study` by default. What is there is continued.
        device: "auto", "cpu", "cuda" or "mps".
        log: receives sentences.
        progress: receives (phase, done, total).

    Returns:
        `trials`, `best` (settings), `validation_loss`, `recipe` (path of `best.yaml`, ready for `train`), `interrupted`.

    Raises:
        InputError: recipe, data or folder do not fit, or Optuna is missing.
    """
    from darklens.recipes import load as read
    from darklens.recipes.tune import tune as search
    from darklens.train.budget import duration

    chosen = read(recipe, _overrides(set, data))
    budget_s = None if budget is None else duration(budget)
    folder = Path(out or Path("runs") / f"{chosen.name}-study")
    return search(chosen, folder, trials, budget_s=budget_s, device=device, log=log, progress=progress)


def resume(
    path: str | Path,
    *,
    budget: str | float | None = None,
    device: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> TrainedRun:
    """Continue a run from its own recipe, on any number of devices; see `train` for the arguments.

    Raises:
        InputError: the folder is no run.
    """
    from darklens.recipes import resume as continue_run
    from darklens.train.budget import duration
    from darklens.train.distributed import connect

    budget_s = None if budget is None else duration(budget)
    team = connect(device, devices, nodes)
    return TrainedRun(continue_run(path, team=team, budget_s=budget_s, log=log, progress=progress).path)


DEMO = {"demo": ".", "demo-residual": "common-test"}
"""Recipes of the demo, and the folders below its own that they fill."""


def demo(
    out: str | Path = "runs/demo",
    *,
    tiny: bool = False,
    log: Callable[[str], None] = print,
    progress: Progress = _silent,
) -> tuple[list[TrainedRun], Path | None]:
    """Do the main job from start to finish, twice: simulate, train two networks, evaluate them on the same images; then report.

    Returns:
        The runs and the page; the page is None if the user interrupted.
    """
    runs: list[TrainedRun] = []
    for recipe, folder in DEMO.items():
        trained = train(recipe, out=Path(out) / folder, set=["tiny=true"] if tiny else [], log=log, progress=progress)
        runs += trained if isinstance(trained, list) else [trained]
        if not all(run.complete for run in runs):
            return runs, None
    return runs, report(runs, Path(out) / "report.html", title="darklens demo: dark-matter substructure in simulated lenses")
