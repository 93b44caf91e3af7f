"""A search for better settings of a recipe, with Optuna: sampled by a tree of Parzen estimators, hopeless trials cut short.

    OUT/
      study.db           every trial, in SQLite: the search continues from here
      trials/0000/ ...   a folder each: history, weights; no test figures
      trials.csv         number, state, validation loss, epochs, settings
      best.yaml          the recipe with the best settings, ready for `darklens train`

What is searched is the recipe's `tune` section, or learning rate, weight decay and dropout. Trials are judged by their best
validation loss; the test images are never looked at. A trial is cut short when its validation loss is above the median of the
others' at that epoch (Golovin et al. 2017, doi:10.1145/3097983.3098043).
"""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from darklens.errors import InputError, WorkError
from darklens.files import write_atomic
from darklens.models import architecture
from darklens.recipes.execution import Log, Progress, silent, train_network
from darklens.recipes.experiments import only_classification
from darklens.recipes.schema import Recipe, validate
from darklens.recipes.splits import LabelledSplits, prepare
from darklens.runs import WORDS, Run
from darklens.train.distributed import connect

if TYPE_CHECKING:
    import optuna

Value = dict[str, Any] | list[Any]
FIRST, EPOCHS = 4, 1
"""Trials, and epochs of a trial, that are never cut short: there is nothing to compare them with."""
FIXED = ("train.task", "train.seed")
"""Settings of a training that are no matter of better or worse."""


def tune(
    recipe: Recipe,
    out: str | Path,
    trials: int,
    *,
    budget_s: float | None = None,
    device: str = "auto",
    log: Log = print,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Search, or continue a search.

    Args:
        recipe: with one network.
        out: the folder of the study.
        trials: how many the study shall have in all.
        budget_s: seconds after which no further trial is begun.
        device: "auto", "cpu", "cuda" or "mps".
        log: receives one sentence at a time.
        progress: receives (phase, done, total).

    Returns:
        `trials` (rows of `trials.csv`), `best` (settings), `validation_loss`, `recipe` (path of `best.yaml`), `interrupted`.

    Raises:
        InputError: Optuna is missing, the section `tune` or the folder does not fit.
        WorkError: no trial came to an end.
    """
    out, space, end = Path(out), space_of(recipe), time.monotonic() + (budget_s or float("inf"))
    if trials < 1:
        raise InputError(f"--trials {trials} is below 1: give the number of trials that the study shall have in all")
    study = _open(out, recipe, space)
    team, interrupted = connect(device), False
    if _count(study) < trials:
        splits = prepare(recipe.effective(), out / "data", log, progress)
        splits = replace(splits, test=splits.test.take(np.arange(0)))  # what is not there cannot be looked at
    while _count(study) < trials and not interrupted:
        if _count(study) and time.monotonic() > end:
            log(f"the budget is spent after {_count(study)} of {trials} trials")
            break
        settings = {"team": team, "log": _quiet(log), "progress": progress}
        interrupted = _try(study, out, recipe, space, splits, settings)
        log(_sentence(study.trials[-1], trials))
        _write(study, out, recipe, space)
    return _write(study, out, recipe, space) | {"interrupted": interrupted}


def space_of(recipe: Recipe) -> dict[str, Value]:
    """Return what is searched: the section `tune`, or the settings that matter most, around the recipe's own.

    Raises:
        InputError: several networks, a setting that cannot be searched, or values that it does not take.
    """
    only_classification(recipe, "darklens tune")
    if recipe.also:
        raise InputError(f"recipe {recipe.name!r} has several networks: tune one at a time, with --set also=[]")
    space: dict[str, Value] = dict(recipe.tune)
    if not space:
        space = {"train.lr": {"low": recipe.train.lr / 10, "high": recipe.train.lr * 10, "log": True}}
        space["train.weight_decay"] = {"low": 1e-5, "high": 0.3, "log": True}
        if "dropout" in inspect.signature(architecture(recipe.model.name).__init__).parameters:
            space["model.options.dropout"] = {"low": 0.0, "high": 0.5}
    for key, values in space.items():
        if not key.startswith(("train.", "model.options.")) or key in FIXED:
            raise InputError(f"tune key {key!r} cannot be searched: take keys of train (not task, not seed) or of model.options")
        for value in _extremes(key, values):
            with_settings(recipe, {key: value})
    return space


def _extremes(key: str, values: Value) -> list[Any]:
    if isinstance(values, list):
        if not values:
            raise InputError(f"tune key {key!r} has an empty list: give the values to try")
        return values
    known = {"low", "high", "log", "step"}
    low, high = values.get("low"), values.get("high")
    if set(values) - known or not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        raise InputError(f"tune key {key!r} is {values}: give a list, or low and high with low < high, and log or step if wanted")
    if values.get("log") and (low <= 0 or values.get("step")):
        raise InputError(f"tune key {key!r} is {values}: log needs low above 0 and no step")
    return [low, high]


def with_settings(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """Return the recipe with other settings, by dotted key, and without its `tune` section.

    Raises:
        InputError: a key or a value that a recipe does not take.
    """
    content = recipe.model_dump(mode="json") | {"tune": {}}
    for key, value in settings.items():
        place: dict[str, Any] = content
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return validate(content)


def _open(out: Path, recipe: Recipe, space: dict[str, Value]) -> optuna.Study:
    """Make or find the study; a trial that was killed is taken up again."""
    try:
        import optuna
    except ImportError as error:
        raise InputError('darklens tune needs Optuna: install it with pip install "darklens[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    settings = recipe.model_dump(mode="json", exclude=set(WORDS))
    asked = json.dumps({"recipe": settings, "space": space}, sort_keys=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=EPOCHS)
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'study.db'}", study_name="darklens", load_if_exists=True, direction="minimize", pruner=pruner
    )
    if study.user_attrs.setdefault("asked", asked) != asked:
        raise InputError(f"{out} holds the study of another recipe or of other values to search: choose another --out")
    study.set_user_attr("asked", asked)
    # a sampler that began with the same seed again would propose the same settings again
    study.sampler = optuna.samplers.TPESampler(seed=recipe.train.seed + len(study.trials), n_startup_trials=FIRST)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        _set_aside(study, trial.number, trial.params)
    return study


def _set_aside(study: optuna.Study, number: int, params: dict[str, Any]) -> None:
    """End a trial that was interrupted, and queue its settings."""
    import optuna

    study.tell(number, state=optuna.trial.TrialState.FAIL)
    study.enqueue_trial(params, user_attrs={"continues": number})


def _count(study: optuna.Study) -> int:
    """Return how many trials came to an end, a bad one included."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state.name in ("COMPLETE", "PRUNED") or "why" in trial.user_attrs for trial in trials)


def _try(
    study: optuna.Study, out: Path, recipe: Recipe, space: dict[str, Value], splits: LabelledSplits, settings: dict[str, Any]
) -> bool:
    """Make one trial; returns whether the user interrupted it."""
    from optuna.trial import TrialState

    trial = study.ask()
    chosen = with_settings(recipe, {key: _suggest(trial, key, values) for key, values in space.items()})
    folder = out / "trials" / f"{trial.number:04d}"
    if "continues" in trial.user_attrs and (before := folder.with_name(f"{trial.user_attrs['continues']:04d}")).is_dir():
        before.rename(folder)
    run, one = Run.create(folder, chosen.model_dump(mode="json")), chosen.effective()
    task = replace(splits.task, label_smoothing=one.train.label_smoothing, auxiliary=one.train.auxiliary)

    def after_epoch(row: dict[str, float]) -> bool:
        trial.report(row["val_loss"], int(row["epoch"]))
        return trial.should_prune()

    for row in run.history:  # of a trial that was interrupted
        trial.report(row["val_loss"], int(row["epoch"]))
    try:
        _, state = train_network(run, one, replace(splits, task=task), after_epoch=after_epoch, **settings)
    except WorkError as error:
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
        return False
    trial.set_user_attr("epochs", state["epoch"])
    trial.set_user_attr("best_validation_loss", state["best"]["val_loss"])
    if state["interrupted"]:
        _set_aside(study, trial.number, trial.params)
    elif state["epoch"] < one.train.epochs and trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, state["best"]["val_loss"])
    return state["interrupted"]


def _suggest(trial: optuna.Trial, key: str, values: Value) -> Any:
    if isinstance(values, list):
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in values]))
    low, high, step = values["low"], values["high"], values.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=values.get("log", False), step=step or 1)
    return trial.suggest_float(key, low, high, log=values.get("log", False), step=step)


def _settings(trial: optuna.trial.FrozenTrial, space: dict[str, Value]) -> dict[str, Any]:
    """Return the settings of a trial as a recipe takes them."""
    return {k: json.loads(v) if isinstance(space[k], list) else v for k, v in trial.params.items() if k in space}


def _sentence(trial: optuna.trial.FrozenTrial, trials: int) -> str:
    outcome = {"COMPLETE": "finished", "PRUNED": "cut short", "FAIL": "failed", "WAITING": "interrupted"}[trial.state.name]
    loss = trial.user_attrs.get("best_validation_loss")
    settings = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in trial.params.items())
    reached = "" if loss is None else f", validation loss {loss:.4f} in {trial.user_attrs['epochs']} epochs"
    return f"trial {trial.number} (of {trials}) {outcome}{reached}: {settings or 'to be continued'}"


def _write(study: optuna.Study, out: Path, recipe: Recipe, space: dict[str, Value]) -> dict[str, Any]:
    """Write `trials.csv` and `best.yaml`."""
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "validation_loss": trial.user_attrs.get("best_validation_loss"),
            "epochs": trial.user_attrs.get("epochs"),
        }
        | {key: _settings(trial, space).get(key) for key in space}
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED", "FAIL")
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=["number", "state", "validation_loss", "epochs", *space])
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(out / "trials.csv", buffer.getvalue())
    best = None
    with contextlib.suppress(ValueError):  # none has come to an end
        best = study.best_trial
    if best is None:
        if rows and not any(row["state"] == "pruned" for row in rows) and all("why" in t.user_attrs for t in study.trials):
            raise WorkError(f"no trial came to an end; the first: {study.trials[0].user_attrs['why']}")
        return {"trials": rows, "best": None, "validation_loss": None, "recipe": None}
    found = with_settings(recipe, _settings(best, space))
    content = found.model_dump(mode="json") | {"name": f"{recipe.name}-tuned", "expects": _expects(best, len(rows))}
    write_atomic(out / "best.yaml", yaml.safe_dump(content, sort_keys=False))
    return {"trials": rows, "best": _settings(best, space), "validation_loss": best.value, "recipe": str(out / "best.yaml")}


def _expects(best: optuna.trial.FrozenTrial, trials: int) -> str:
    return f"the best of {trials} trials by validation loss, {best.value:.4f}, which is flattered by the choice; not tested yet"


def _quiet(log: Log) -> Log:
    """Return a log without the sentences on single epochs."""
    return lambda sentence: None if sentence.startswith("epoch ") else log(sentence)
