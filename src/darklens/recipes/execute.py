"""From a recipe to finished runs: images, training, calibration, one look at the test set. Every step continues what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from darklens.errors import InputError
from darklens.files import write_json
from darklens.models import count_parameters
from darklens.recipes.schema import Recipe, validate
from darklens.recipes.splits import Splits, prepare
from darklens.runs import MODEL, Run
from darklens.train.evaluation import calibrate, evaluate_test
from darklens.train.loop import Training
from darklens.train.predictor import Predictor, build_model
from darklens.train.provenance import provenance

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def execute(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str = "auto",
    force: bool = False,
    log: Log = print,
    progress: Progress = lambda phase, done, total: None,
) -> list[Run]:
    """Carry out a recipe.

    Args:
        recipe: what to do; several networks share the images and get a folder each.
        out: the run folder, or with several networks the folder above them. What is finished there is kept.
        device: "auto", "cpu", "cuda" or "mps".
        force: begin anew.
        log: receives one sentence at a time.
        progress: receives (phase, done, total).

    Returns:
        The runs, in the order of the recipe. A run that was interrupted is not `complete`.

    Raises:
        InputError: the recipe and the data, or the folder, do not fit.
        WorkError: training diverged or a file could not be written; what was finished is kept.
    """
    out = Path(out)
    singles = recipe.single()
    folders = [out] if len(singles) == 1 else [out / f"{r.model.name}" for r in singles]
    if len(set(folders)) < len(folders):
        raise InputError(f"recipe {recipe.name!r} names a model twice: give each network once")
    runs = [Run.create(folder, one.model_dump(mode="json"), force=force) for one, folder in zip(singles, folders, strict=True)]
    if all(run.complete for run in runs):
        log(f"{out} is finished: nothing to do (begin anew with --force)")
        return runs
    splits = prepare(recipe.effective(), (out if len(singles) > 1 else out.parent) / "data", log, progress)
    for run, one in zip(runs, singles, strict=True):
        if run.complete:
            log(f"{run.path} is finished")
        elif not _train(run, one.effective(), splits, device, log, progress):
            break
    return runs


def resume(
    path: str | Path, *, device: str = "auto", log: Log = print, progress: Progress = lambda phase, done, total: None
) -> Run:
    """Continue a run from its own recipe.

    Raises:
        InputError: the folder is no run.
    """
    run = Run.open(path)
    return execute(validate(run.recipe), run.path, device=device, log=log, progress=progress)[0]


def _train(run: Run, recipe: Recipe, splits: Splits, device: str, log: Log, progress: Progress) -> bool:
    """Train, calibrate, test; returns False if the user interrupted."""
    described = describe(recipe, splits)
    write_json(run.path / MODEL, described)
    run.write("data", splits.card)
    model = build_model(described, splits.task.outputs)
    log(f"training {described['name']} ({count_parameters(model):,} parameters) on {len(splits.train)} images")
    training = Training(
        run,
        model,
        splits.task,
        splits.train.seen_as(recipe.preprocess.input),
        splits.validation.seen_as(recipe.preprocess.input),
        recipe.train,
        recipe.preprocess,
        device=device,
        log=log,
        progress=progress,
    )
    state = training.fit()
    seconds = sum(row["seconds"] for row in state["history"])
    best = state["best"]
    write_json(
        run.path / "provenance.json",
        provenance()
        | {
            "seed": recipe.train.seed,
            "device": str(training.fabric.device),
            "precision": training.format,
            "parameters": count_parameters(model),
            "training_seconds": round(seconds, 1),
            "best_epoch": best["epoch"],
            "epochs": state["epoch"],
            "data_checksums": {k: v["checksum"] for k, v in splits.card["splits"].items()},
        },
    )
    if state["interrupted"]:
        log(f"stopped after epoch {state['epoch']}; continue with: darklens train --resume {run.path}")
        return False
    predictor = Predictor(run, device)
    calibrate(predictor, splits.validation)
    evaluate_test(predictor, splits.test, splits.card)
    return True


def describe(recipe: Recipe, splits: Splits) -> dict:
    """Return `model.json`: what a predictor has to know besides the weights."""
    task = asdict(splits.task)
    return {
        "name": recipe.model.name,
        "options": recipe.model.options,
        "seed": recipe.train.seed,
        "classes": list(task["classes"]),
        "group": task["group"],
        "single_logit": task["single_logit"],
        "shape": list(splits.train.shape),
        "pixel_scale": splits.card["pixel_scale"] or 1.0,
        "flux_unit": splits.card["flux_unit"],
        "preprocess": recipe.preprocess.model_dump(),
        "torch": torch.__version__,
    } | ({"fit": splits.plan.as_dict()} if recipe.preprocess.input != "image" else {})
