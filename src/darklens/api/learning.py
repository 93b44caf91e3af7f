"""Trainings: one recipe, and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

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
    device: str = "auto",
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
        device: "auto", "cpu", "cuda" or "mps".
        force: begin anew.
        log: receives sentences.
        progress: receives (phase, done, total).

    Returns:
        The run; a list of runs if the recipe has several networks.

    Raises:
        InputError: recipe, data or folder do not fit.
    """
    from darklens.recipes import execute
    from darklens.recipes import load as read

    overrides = list(set)
    if data is not None:
        overrides += ["data.preset=null", f"data.path={data}"]
    chosen = read(recipe, overrides)
    runs = execute(chosen, out or Path("runs") / chosen.name, device=device, force=force, log=log, progress=progress)
    opened = [TrainedRun(run.path) for run in runs]
    return opened[0] if len(opened) == 1 else opened


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
        runs += train(recipe, out=Path(out) / folder, set=["tiny=true"] if tiny else [], log=log, progress=progress)
        if not all(run.complete for run in runs):
            return runs, None
    return runs, report(runs, Path(out) / "report.html", title="darklens demo: dark-matter substructure in simulated lenses")
