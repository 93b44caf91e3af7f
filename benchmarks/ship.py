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
from darklens.files import read_json, write_json
from darklens.runs import MODEL, NOVELTY, RECIPE, VALIDATION, WEIGHTS, Run

COMMON = (RECIPE, MODEL, WEIGHTS, "metrics.json", "history.csv", "data.json", "provenance.json")
OF_TASK = {
    "classification": (VALIDATION, NOVELTY, "novelty.json", "calibration.json"),
    "inference": (NOVELTY, "novelty.json", "calibration.json"),
    "generation": (
        "generation.safetensors",
    ),  # what was told about training images: the rest of what is asked for is drawn from it
}
MOST_BYTES = 8_000_000
"""A wheel with a few of them stays small."""


def files_of(run: Run) -> tuple[str, ...]:
    """Return the names of the files that go along."""
    return COMMON + OF_TASK.get(run.model.get("task", "classification"), ())


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
    files = files_of(run)
    missing = [file for file in files if not (run.path / file).is_file()]
    if missing:
        raise InputError(f"{run.path} lacks {', '.join(missing)}: finish the run, or give --again to make what older versions lack")
    if run.recipe.get("tiny"):
        raise InputError(f"{run.path} was trained with tiny=true, to see that it works: ship a whole training")
    size = sum((run.path / file).stat().st_size for file in files)
    if size > MOST_BYTES:
        raise InputError(f"{run.path} takes {size:,} bytes and {MOST_BYTES:,} are the limit: ship a smaller network")
    target = runs.SHIPPED / model / preset
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        for file in files:
            shutil.copyfile(run.path / file, Path(scratch) / file)
        _forget_places(Path(scratch) / "data.json")
        _try(Run(Path(scratch)), run)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(scratch, target)
    return target


def _forget_places(card: Path) -> None:
    """Leave out where the images lay on the machine of the training."""
    content = read_json(card)
    for split in content.get("splits", {}).values():
        split["path"] = None
    write_json(card, content)


def _try(copy: Run, original: Run) -> None:
    """Make sure that the copy opens and answers as the original does."""
    answers = [_answer(run) for run in (copy, original)]
    if not np.allclose(*answers, rtol=0, atol=1e-4):
        raise InputError(f"the copy of {original.path} does not answer as the run does: train it again")


def _answer(run: Run) -> np.ndarray:
    """Return what a run says of two pictures of nothing."""
    task, noise = run.model.get("task", "classification"), np.random.default_rng(0)
    images = noise.random((2, *run.model["shape"]), np.float32)
    if task == "super-resolution":
        from darklens.train.enhancer import Enhancer

        return Enhancer(run, "cpu")(images)[0]
    if task == "generation":
        from darklens.train.generation import Generator

        return Generator(run, "cpu").generate(2, seed=0, steps=2).images
    if task in ("masked-autoencoder", "joint-embedding", "denoising"):
        from darklens.train.embedder import Embedder

        return Embedder(run, "cpu").vectors(images)
    if task == "inference":
        from darklens.train.inference import Estimator

        return Estimator(run, "cpu").draws(images, 50).samples
    from darklens.train.predictor import Predictor

    found = Predictor(run, "cpu").answers(images)
    if found.unusual is None:
        raise InputError(f"the copy of {run.path} does not say what is unusual: train it again")
    return found.probabilities


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
    kept = {key: metrics[key] for key in ("accuracy", "auc_macro", "unusual", *metrics.get("headline", ())) if key in metrics}
    print(json.dumps({"shipped": names[1], "from": str(run.path), "files": len(files_of(run)), "bytes": size} | kept, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
