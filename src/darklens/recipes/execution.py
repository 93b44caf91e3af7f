"""From a recipe to finished runs: images, training, one look at the test set. Every step continues what is there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.errors import InputError
from darklens.files import write_json
from darklens.models import count_parameters, settle
from darklens.recipes.experiments import experiment_of
from darklens.recipes.schema import Recipe, validate
from darklens.recipes.splits import Splits, imported
from darklens.runs import MODEL, RECIPE, WORDS, Run
from darklens.train.budget import in_words
from darklens.train.distributed import Team, connect
from darklens.train.loop import Training
from darklens.train.provenance import provenance

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]

LEARNT_WITH = ("columns", "anchors")
"""What `model.json` says of the training images, and the weights depend on."""


def silent(phase: str, done: int, total: int) -> None:
    """Show no progress."""


def _mute(sentence: str) -> None:
    """Say nothing."""


def execute(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str = "auto",
    team: Team | None = None,
    budget_s: float | None = None,
    data: Path | None = None,
    force: bool = False,
    log: Log = print,
    progress: Progress = silent,
) -> list[Run]:
    """Carry out a recipe.

    Args:
        recipe: what to do; several networks share the images and get a folder each.
        out: the run folder, or with several networks the folder above them. What is finished there is kept.
        device: "auto", "cpu", "cuda" or "mps"; for a team of one.
        team: the processes that train together; the first one does everything else.
        budget_s: seconds that the training of each network may take; its epochs are cut to them.
        data: folder for tables; beside the runs by default.
        force: begin anew.
        log: receives one sentence at a time.
        progress: receives (phase, done, total).

    Returns:
        The runs, in the order of the recipe. A run that was interrupted is not `complete`.

    Raises:
        InputError: the recipe and the data, or the folder, do not fit.
        WorkError: training diverged or a file could not be written; what was finished is kept.
    """
    team, out = team or connect(device), Path(out)
    log, progress = (log, progress) if team.leads else (_mute, silent)
    singles = recipe.single()
    folders = [out] if len(singles) == 1 else [out / folder_name(r.model.name) for r in singles]
    if len(set(folders)) < len(folders):
        raise InputError(f"recipe {recipe.name!r} names a model twice: give each network once")
    data = data or (out if len(singles) > 1 else out.parent) / "data"
    runs, splits = team.in_turn(lambda: _begin(recipe, out, folders, data, team.leads, force, log, progress))
    for run, one in zip(runs, singles, strict=True):
        if run.complete:
            log(f"{run} is finished")
            continue
        assert splits is not None, "made where a run is left to train"
        if not _train(run, one.effective(), splits, team, budget_s, log, progress):
            break
    return runs


def _train(run: Run, recipe: Recipe, splits: Splits, team: Team, budget_s: float | None, log: Log, progress: Progress) -> bool:
    """Train, and do what follows for this task; returns False if the user interrupted. A refused training leaves no folder."""
    try:
        training, state = train_network(run, recipe, splits, team=team, budget_s=budget_s, log=log, progress=progress)
    except InputError:
        if team.leads:
            run.discard_unbegun()
        raise
    if team.leads:
        run.write("provenance", _provenance(training, state, splits))
    if state["interrupted"]:
        log(f"stopped after epoch {state['epoch']}; continue with: darklens train --resume {run}")
    elif team.leads:
        experiment_of(recipe).finish(run, training, splits, log)
    team.wait()
    return not state["interrupted"]


def _begin(
    recipe: Recipe, out: Path, folders: list[Path], data: Path, leads: bool, force: bool, log: Log, progress: Progress
) -> tuple[list[Run], Splits | None]:
    """Make the images, should any be needed, and then the folders; processes that do not lead find both.

    Folders come last: images that are refused leave none behind, and what `force` replaces stays until there is something to begin.
    """
    force, singles = force and leads, list(zip(recipe.single(), folders, strict=True))
    found = [_found(folder, one, force) for one, folder in singles]
    runs = [run for run in found if run is not None and run.complete]
    if len(runs) == len(singles):
        log(f"{out} is finished: nothing to do (begin anew with --force)")
        return runs, None
    wanted = recipe.effective()
    if not leads:
        wanted = wanted.model_copy(update={"data": imported(wanted.data, data)})
    splits = experiment_of(wanted).prepare(wanted, data, log, progress)
    made = [
        run or Run.create(folder, one.model_dump(mode="json"), force=force)
        for run, (one, folder) in zip(found, singles, strict=True)
    ]
    return made, splits


def _found(path: Path, recipe: Recipe, force: bool) -> Run | None:
    """Return the run of this recipe that the folder holds, None where one can be made; keys and words are today's.

    Raises:
        InputError: the folder holds something else.
    """
    if (path / RECIPE).is_file() and not force:
        with contextlib.suppress(InputError):
            if validate(Run.open(path).recipe | recipe.model_dump(include=set(WORDS))) == recipe:
                return Run.open(path)
    Run.check_free(path, recipe.model_dump(mode="json"), force=force)
    return None


def resume(
    path: str | Path,
    *,
    device: str = "auto",
    team: Team | None = None,
    budget_s: float | None = None,
    log: Log = print,
    progress: Progress = silent,
) -> Run:
    """Continue a run from its own recipe, on any number of processes; one that began with a budget keeps its schedule.

    Raises:
        InputError: the folder is no run.
    """
    run = Run.open(path)
    if run.shipped:
        raise InputError(f"{run.name} comes with darklens and is finished: train its recipe anew with darklens train")
    if (run.provenance or {}).get("adapted_from"):
        raise InputError(f"{run} was adapted, not trained: adapt again with darklens adapt, or train its recipe anew")
    if (run.provenance or {}).get("campaign"):
        raise InputError(f"{run} is a round of a campaign: continue it with darklens active learn CAMPAIGN")
    recipe = validate(run.recipe)
    return execute(recipe, run.path, device=device, team=team, budget_s=budget_s, log=log, progress=progress)[0]


def train_network(run: Run, recipe: Recipe, splits: Splits, **settings: Any) -> tuple[Training, dict[str, Any]]:
    """Train one network of an effective recipe, and look at nothing but training and validation images.

    Args:
        run: its folder.
        recipe: with one network.
        splits: the images.
        **settings: of `Training`.

    Returns:
        The training and its final state.
    """
    experiment = experiment_of(recipe)
    described = experiment.describe(recipe, splits) | {"options": _settled(run, recipe, settings["log"])}
    if (run.path / MODEL).is_file():  # a training that goes on keeps what its weights were learnt with
        kept = {key: run.model[key] for key in LEARNT_WITH if key in run.model}
        described = {key: value for key, value in described.items() if key not in LEARNT_WITH} | kept
    model = experiment.build(described, splits)
    log, team = settings["log"], settings["team"]
    if team.leads:
        write_json(run.path / MODEL, described)
        run.write("data", splits.card)
    log(f"training {described['name']} ({count_parameters(model):,} parameters) on {len(splits.train)} images")
    train, validation = (images.seen_as(recipe.preprocess) for images in (splits.train, splits.validation))
    training = Training(run, model, splits.task, train, validation, recipe.train, recipe.preprocess, **settings)
    return training, training.fit()


def _provenance(training: Training, state: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Return where a run comes from."""
    plan = training.plan
    return provenance() | {
        "seed": training.config.seed,
        "device": str(training.fabric.device),
        "processes": training.team.size,
        "micro_batch": training.micro_batch,
        "precision": training.format,
        "parameters": count_parameters(training.raw),
        "training_seconds": round(sum(row["seconds"] for row in state["history"]), 1),
        "best_epoch": state["best"]["epoch"],
        "epochs": state["epoch"],
        "budget": plan.budget_s
        and {
            "seconds": plan.budget_s,
            "text": in_words(plan.budget_s),
            "epochs_asked": plan.asked,
            "epochs_planned": plan.epochs,
            "steps_of_an_epoch": [plan.steps, plan.full],
        },
        "data_checksums": {k: v["checksum"] for k, v in splits.card["splits"].items()},
    }


def folder_name(model: str) -> str:
    """Return a model's name as the name of a folder: repositories have slashes and colons."""
    return re.sub(r"[^\w.-]+", "-", model).strip("-.")


def _settled(run: Run, recipe: Recipe, log: Log) -> dict[str, Any]:
    """Return the network's options with all that was looked up for them when the run began."""
    if (run.path / MODEL).is_file():
        return run.model["options"]
    options, note = settle(recipe.model.name, recipe.model.options)
    if note:
        log(note)
    return options
