"""A run folder adapted to images from elsewhere: an ordinary run, whole or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import read
from darklens.errors import InputError
from darklens.files import sha256_of, write_json
from darklens.models import count_parameters
from darklens.runs import LAST, MODEL, RECIPE, WEIGHTS, Run
from darklens.train.adaptation.images import Target, read_target, source_images
from darklens.train.adaptation.methods import FEWEST, adapt_network, check_method
from darklens.train.adaptation.settings import AdaptConfig
from darklens.train.checkpoint import save_weights
from darklens.train.columns import refuse_columns
from darklens.train.evaluation import FEWEST as FEWEST_TO_JUDGE
from darklens.train.evaluation import judge
from darklens.train.image_set import ImageSet
from darklens.train.novelty import RATE, Novelty
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance

Log = Callable[[str], None]
SET_ON = 5
"""Every so many-th target image sets the thresholds of novelty; the others say what the target is like."""


def adapt_run(
    run: Run,
    to: Path,
    out: Path,
    method: str,
    config: AdaptConfig,
    *,
    source: Path | None = None,
    calibrate: bool = False,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
    on_skip: Callable[[str, str], None] | None = None,
    log: Log = print,
) -> Run:
    """Adapt a run to unlabelled images and write the result; see `darklens.adapt`.

    Target images are divided by content into a part to adapt to, whose labels are not looked at, and a part for the test. A target
    without labels gives a run without metrics.

    Raises:
        InputError: the folder is taken, the images do not fit, or the method cannot be used.
        WorkError: the adaptation failed; nothing is left of it.
    """
    out = Path(out)
    _check_place(run, out, force)
    predictor = Predictor(run, device)
    check_method(method, predictor.model)
    refuse_columns(predictor.columns, "darklens adapt")
    predictor.task = predictor.task.with_group(group or {})
    target = read_target(
        read(
            to,
            hdu=hdu,
            bands=bands,
            size=predictor.shape[1:] if resize else None,
            on_skip=lambda where, why: (on_skip or _refuse)(str(where), why),
        ),
        predictor.shape,
        predictor.task,
        test_fraction=config.test_fraction,
        seed=config.seed,
        resize=resize,
        on_skip=on_skip or _refuse,
    )
    if len(target.images) < FEWEST:
        raise InputError(f"{to} has {len(target.images)} images to adapt to: give at least {FEWEST}")
    log(f"{target.rows} images of {to}: {len(target.images)} to adapt to, {len(target.test or ())} labelled ones for the test")
    if calibrate:
        predictor = predictor.calibrated_on(target.images, log=log)

    def labelled() -> ImageSet:
        return source_images(run, predictor.task, predictor.shape, config.source_images, source)

    network, history = adapt_network(predictor, target.images, method, config, source=labelled, log=log)
    predictor = predictor.with_network(network)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        about: dict[str, Any] = {"run": str(run.path), "weights_sha256": sha256_of(run.weights), "method": method}
        about |= {"settings": asdict(config), "target": str(to), "target_checksum": target.checksum, "calibrated": calibrate}
        _write(Run(draft), run, predictor, target, history, about)
        _settle(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Run.open(out)


def _check_place(run: Run, out: Path, force: bool) -> None:
    if out.is_file():
        raise InputError(f"{out} is a file: choose a folder for the run")
    if out.resolve() == run.path.resolve():
        raise InputError(f"{out} is the run that is adapted: choose another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise InputError(f"{out} holds something already: choose another --out or give --force")
    if not (out / RECIPE).is_file():
        raise InputError(f"{out} holds something that is not a run, which --force does not remove: choose another --out")


def _settle(draft: Path, out: Path) -> None:
    """Put the finished folder in its place, in one step where there is nothing yet."""
    draft.chmod(0o755)  # temporary folders are private
    if out.is_dir():
        shutil.rmtree(out)
    os.replace(draft, out)


def _write(into: Run, run: Run, predictor: Predictor, target: Target, history: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write everything; metrics come last."""
    shutil.copyfile(run.path / RECIPE, into.path / RECIPE)
    fit = {} if predictor.plan is None else {"fit": predictor.plan.as_dict()}
    write_json(into.path / MODEL, run.model | {"group": predictor.task.group} | fit)
    for name in (WEIGHTS, LAST):
        save_weights(into.path / name, predictor.model.state_dict())
    if history:
        into.write_history(history)
    if run.calibration:
        into.write("calibration", {"temperature": predictor.temperature, "fitted_on": f"validation images of {run.name}, before"})
    made = provenance() | {"seed": about["settings"]["seed"], "device": str(predictor.device)}
    into.write("provenance", made | {"parameters": count_parameters(predictor.model), "adapted_from": about})
    adapted = replace_novelty(Predictor(into, str(predictor.device)), target.images, about["target"])
    card = _card(run, target, about)
    into.write("data", card)
    if target.test is not None and len(target.test) >= FEWEST_TO_JUDGE:
        judge(adapted, target.test, into, card)


def replace_novelty(predictor: Predictor, images: np.ndarray, name: str) -> Predictor:
    """Learn what the target's images are like, with the network's own answers as classes, and write it into its run."""
    inputs, chi2 = predictor.see(images)
    features, answers = predictor.features(inputs), predictor.answers_seen(inputs, chi2).probabilities.argmax(1)
    held = np.arange(len(images)) % SET_ON == 0
    learnt = Novelty.learn(features[~held], answers[~held])
    predictor.novelty = learnt.with_thresholds(features[held], None if chi2 is None else chi2[held])
    about = {"learnt_on": {"split": "target", "n": int((~held).sum())}, "set_on": {"split": "target", "n": int(held.sum())}}
    predictor.novelty.save(predictor.run, {"rate": RATE, "method": f"as for a training, on images of {name}"} | about)
    return predictor


def _card(run: Run, target: Target, about: dict[str, Any]) -> dict[str, Any]:
    card = run.data or {}
    splits: dict[str, Any] = {"train": (card.get("splits") or {}).get("train")}
    splits["adaptation"] = {
        "rows": len(target.images),
        "counts": {},
        "checksum": target.checksum,
        "seed": None,
        "path": about["target"],
    }
    if target.test is not None:
        splits["test"] = splits["adaptation"] | {"rows": len(target.test), "counts": target.test.counts}
    return card | {
        "summary": f"{card.get('summary') or 'images'}; adapted without labels to {about['target']}",
        "source": about["target"],
        "how_to_repeat": f"darklens adapt {about['run']} --to {about['target']} --method {about['method']} --out RUN",
        "splits": splits,
        "disjoint": "divided by content hash, copies of an image stand on one side; labels of the adaptation part were not read",
        "adapted_from": about,
    }


def _refuse(what: str, why: str) -> None:
    raise InputError(f"{what} {why}")
