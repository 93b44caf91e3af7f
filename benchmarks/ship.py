"""Copy a finished run into the package, so that it comes with darklens.

    python -m benchmarks.ship RUN MODEL:PRESET [--again]

Only what answering needs goes along: recipe, model, weights, calibration, novelty, metrics, history, data card, provenance; no
predictions, figures or state. `--again` first makes calibration, novelty and metrics anew, for runs of older versions.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from darklens import runs
from darklens.errors import DarklensError, InputError
from darklens.runs import MODEL, NOVELTY, RECIPE, VALIDATION, WEIGHTS, Run

FILES = (
    *(RECIPE, MODEL, WEIGHTS, VALIDATION, NOVELTY, "novelty.json", "calibration.json", "metrics.json"),
    *("history.csv", "data.json", "provenance.json"),
)
MOST_BYTES = 2_000_000
"""A wheel with a few of them stays small."""


def ship(run: Run, name: str) -> Path:
    """Copy a run into the package as `MODEL:PRESET`, in place of what had that name.

    Raises:
        InputError: the name does not fit the run, the run is not whole, was a tiny one, or is too large.
    """
    model, _, preset = name.partition(":")
    if not re.fullmatch(r"[a-z0-9-]+", model) or not re.fullmatch(r"[a-z0-9-]+", preset):
        raise InputError(f"{name!r} is no name of a shipped run: write MODEL:PRESET, for example arcnet:common-test")
    if model != run.model["name"]:
        raise InputError(f"{run.path} holds {run.model['name']} and would be shipped as {model}: name it after its model")
    missing = [file for file in FILES if not (run.path / file).is_file()]
    if missing:
        raise InputError(f"{run.path} lacks {', '.join(missing)}: finish the run, or give --again to make what older versions lack")
    if run.recipe.get("tiny"):
        raise InputError(f"{run.path} was trained with tiny=true, to see that it works: ship a whole training")
    size = sum((run.path / file).stat().st_size for file in FILES)
    if size > MOST_BYTES:
        raise InputError(f"{run.path} takes {size:,} bytes and {MOST_BYTES:,} are the limit: ship a smaller network")
    target = runs.SHIPPED / model / preset
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        for file in FILES:
            shutil.copyfile(run.path / file, Path(scratch) / file)
        _try(Run(Path(scratch)), run)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(scratch, target)
    return target


def _try(copy: Run, original: Run) -> None:
    """Make sure that the copy opens and answers as the original does."""
    from darklens.train.predictor import Predictor

    images = np.random.default_rng(0).random((2, *original.model["shape"]), np.float32)
    answers = [Predictor(run, "cpu").answers(images) for run in (copy, original)]
    if not np.allclose(answers[0].probabilities, answers[1].probabilities, rtol=0, atol=1e-4) or answers[0].unusual is None:
        raise InputError(f"the copy of {original.path} does not answer as the run does: train it again")


def main(arguments: list[str]) -> int:
    """Ship one run and say what was done."""
    again = "--again" in arguments
    names = [a for a in arguments if a != "--again"]
    if len(names) != 2:
        print(__doc__)
        return 2
    try:
        run = Run.open(names[0])
        if again:
            from darklens.recipes.recalibrate import recalibrate

            run = recalibrate(names[0], device="cpu")
        target = ship(run, names[1])
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    size = sum(file.stat().st_size for file in target.iterdir())
    metrics = run.metrics
    kept = {key: metrics[key] for key in ("accuracy", "auc_macro", "unusual") if key in metrics}
    print(json.dumps({"shipped": names[1], "from": str(run.path), "files": len(FILES), "bytes": size} | kept, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
