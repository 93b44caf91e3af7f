"""Everything that follows a training, again, for a run whose weights are there: what newer versions of darklens add to a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from darklens.errors import InputError
from darklens.recipes.experiments import only_classification
from darklens.recipes.schema import validate
from darklens.recipes.splits import prepare
from darklens.runs import Run
from darklens.train.evaluation import calibrate, evaluate_test, learn_novelty
from darklens.train.predictor import Predictor


def recalibrate(
    path: str | Path,
    *,
    device: str = "auto",
    log: Callable[[str], None] = print,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Run:
    """Fit the temperature again, learn what the run's own images are like, and look at the same test images again.

    Args:
        path: a finished run; its images are made or read again from its own recipe.
        device: "auto", "cpu", "cuda" or "mps".
        log: receives sentences.
        progress: receives (phase, done, total).

    Raises:
        InputError: the run is shipped, not finished or not whole, or its test images are not what they were.
    """
    run = Run.open(path)
    if run.shipped or not run.complete:
        why = "comes with darklens and is read-only" if run.shipped else "is not finished: continue it with darklens train --resume"
        raise InputError(f"{path} {why}")
    if (recorded := run.data) is None:
        raise InputError(f"{path} has no data.json, which says what its images were: restore it, or train it again")
    recipe = validate(run.recipe).effective()
    only_classification(recipe, "recalibration")
    splits = prepare(recipe, run.path.parent / "data", log, progress)
    for name in ("validation", "test"):
        before, now = (card["splits"][name]["checksum"] for card in (recorded, splits.card))
        if before != now:
            raise InputError(f"the {name} images of {path} are not those of its training ({now} and {before}): train it again")
    predictor = Predictor(run, device)
    calibrate(predictor, splits.validation)
    learn_novelty(predictor, splits.train, splits.validation)
    evaluate_test(predictor, splits.test, splits.card)
    log(f"{path}: calibration, novelty and metrics were made again")
    return run
