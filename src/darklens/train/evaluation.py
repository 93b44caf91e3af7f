"""From a trained model and labelled images to numbers with intervals, predictions and pictures in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darklens.data import MANIFEST, Table, read, resize_image
from darklens.errors import InputError
from darklens.evaluate import classification_metrics, fit_temperature
from darklens.evaluate.completeness import AGAINST
from darklens.evaluate.conformal import METHOD, conformal_metrics, conformal_scores, conformal_threshold
from darklens.evaluate.figure_set import save_classification_figures, save_training_figures
from darklens.evaluate.proportion import proportion
from darklens.evaluate.rare_figures import save_rare_figures
from darklens.models import first_convolution
from darklens.runs import Evaluation
from darklens.train.answers import Answers, Judge, softmax
from darklens.train.columns import completed, values_of
from darklens.train.fresh import FreshImages
from darklens.train.held_out import save_held_out
from darklens.train.image_set import ImageSet
from darklens.train.novelty import RATE, Novelty
from darklens.train.predictor import Predictor
from darklens.train.preprocess import check, check_bands, prepare
from darklens.train.searching import chosen_thresholds, search_metrics

FEWEST = 5
"""Images below which an interval would be a guess."""
LEARN = 4096
"""Training images from which it is learnt what they are like."""
COVERAGES = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
"""Coverages of conformal sets whose thresholds `calibration.json` names."""


def calibrate(predictor: Predictor, validation: ImageSet) -> None:
    """Fit the temperature on validation images and write `calibration.json`."""
    logits = predictor.logits_of(validation)
    predictor.temperature = fit_temperature(logits, validation.labels)
    predictor.validation = logits, validation.labels
    save_held_out(predictor.run, *predictor.validation)
    scores = conformal_scores(softmax(logits / predictor.temperature), validation.labels)
    before, after = (
        classification_metrics(softmax(logits / t), validation.labels, predictor.classes)["ece"]
        for t in (1.0, predictor.temperature)
    )
    predictor.run.write(
        "calibration",
        {
            "temperature": predictor.temperature,
            "fitted_on": "validation",
            "n": len(validation),
            "ece_before": before,
            "ece_after": after,
            "conformal": {"method": METHOD, "thresholds": {str(c): conformal_threshold(scores, c) for c in COVERAGES}},
        }
        | chosen_thresholds(predictor),
    )


def learn_novelty(predictor: Predictor, train: ImageSet | FreshImages, validation: ImageSet) -> None:
    """Learn what the model's own images are like, and write `novelty.safetensors` and `novelty.json`.

    Args:
        predictor: the trained model.
        train: training images; the first `LEARN` of an epoch are used, as the network sees them, without augmentation.
        validation: what the thresholds are set on.
    """
    seen, n = train.seen_as(predictor.preprocess), min(len(train), LEARN)
    features, labels = [], []
    for images, classes in seen.epoch(0, _spread(len(train), n), min(n, 256)):
        features.append(predictor.features(images.numpy()))
        labels.append(classes.numpy())
    learnt = Novelty.learn(np.concatenate(features), np.concatenate(labels))
    held_out = predictor.features_of(validation)
    predictor.novelty = learnt.with_thresholds(*held_out)
    flags = predictor.novelty.judge(*held_out).flags
    about = {
        "rate": RATE,
        "method": "reduced chi^2 of the smooth fit, where there is one; Mahalanobis distance in the features (arXiv:1807.03888)",
        "learnt_on": {"split": "train", "n": sum(map(len, labels))},
        "set_on": {"split": "validation"} | proportion(int(flags.sum()), len(flags)),
    }
    predictor.novelty.save(predictor.run, about)


def _spread(size: int, n: int) -> np.ndarray:
    """Return n of the positions below `size`, evenly spread: tables may be sorted by class."""
    return np.unique(np.linspace(0, size - 1, n).astype(np.int64))


def evaluate_test(predictor: Predictor, test: ImageSet, card: dict[str, Any]) -> dict[str, Any]:
    """Look at the test split, once: predictions, figures and metrics of the run itself.

    Returns:
        The metrics; they are written last, so that a run with metrics is complete.
    """
    run = predictor.run
    first = np.array([np.flatnonzero(test.labels == k)[0] for k in np.unique(test.labels)])
    inputs = prepare(test.seen_as(predictor.preprocess).batch(first)[0], predictor.preprocess)
    names = [test.classes[k] for k in np.unique(test.labels)]
    save_training_figures(run.path / "figures", run.history, feature_maps(predictor, inputs), inputs[:, 0].numpy(), names)
    start = time.perf_counter()
    answers = predictor.answers_of(test)
    rate = len(test) / (time.perf_counter() - start)
    run.write("provenance", (run.provenance or {}) | {"predict_images_per_s": round(rate, 1)})
    return judge(predictor, test, run, card, answers)


def judge(
    predictor: Judge, images: ImageSet, into: Evaluation, card: dict[str, Any], answers: Answers | None = None
) -> dict[str, Any]:
    """Measure a model's answers (asked for, if not given) and write metrics, predictions, figures and data card into a folder."""
    answers = predictor.answers_of(images) if answers is None else answers
    probabilities = answers.probabilities
    metrics = classification_metrics(probabilities, images.labels, predictor.classes) | _promises(answers, images.labels, predictor)
    metrics |= search_metrics(predictor, images, probabilities)
    if card.get("synthetic"):
        made_up = (
            f"the images were made up by a network ({card['source']}): figures on them say nothing about simulated or real lenses"
        )
        metrics["notes"] = [*metrics["notes"], made_up]
    columns = {name: probabilities[:, k] for k, name in enumerate(predictor.classes)}
    names = np.array(predictor.classes, dtype=object)
    ids = [str(i) for i in images.ids]
    into.write("data", card)
    into.write_predictions({"id": ids, "label": names[images.labels], "predicted": names[answers.called]} | columns)
    save_classification_figures(
        into.path / "figures",
        probabilities,
        images.labels,
        metrics,
        images.pixels,
        ids,
        unit=card.get("flux_unit") or "",
        pixel_scale=card.get("pixel_scale"),
    )
    if "search" in metrics:
        save_rare_figures(into.path / "figures", metrics["search"], metrics["completeness"])
    into.write("metrics", metrics)
    return metrics


def _promises(answers: Answers, labels: np.ndarray, judge: Judge) -> dict[str, Any]:
    """Measure the conformal sets, and how many images are said to be unusual, as far as the model gives them."""
    found = {}
    if answers.sets is not None:
        found["conformal"] = conformal_metrics(answers.sets, labels, judge.coverage)
    if answers.unusual is not None:
        found["unusual"] = proportion(int(answers.unusual.flags.sum()), len(labels))
        found["unusual_because"] = answers.unusual.counts
    return found


def feature_maps(predictor: Predictor, inputs: torch.Tensor) -> np.ndarray:
    """Return what the first convolution makes of prepared images, `(m, C, h, w)`."""
    kept: list[torch.Tensor] = []
    handle = first_convolution(predictor.model).register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        with torch.inference_mode():
            predictor.model.eval()(inputs.to(predictor.device))
    finally:
        handle.remove()
    return kept[0][: len(inputs)].float().cpu().numpy()  # lenspinn sees images and sources at once, the images first


def evaluate_path(
    predictor: Judge,
    path: Path,
    *,
    name: str | None = None,
    split: str | None = None,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    out: Path | None = None,
    on_skip: Callable[[str, str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on other labelled data, into `RUN/evaluations/NAME` or `out`; see `darklens.evaluate`."""
    options = {"hdu": hdu, "bands": bands, "size": predictor.shape[1:] if resize else None}
    images, card = _labelled(predictor, path, split, group or {}, resize, options, on_skip)
    if len(images) < FEWEST:
        raise InputError(f"{path} has {len(images)} labelled images: an interval needs at least {FEWEST}")
    place = predictor.evaluation(name or path.resolve().name) if out is None else Evaluation(out)
    return judge(predictor, images, place, card)


def _labelled(
    predictor: Judge,
    path: Path,
    split: str | None,
    group: dict[str, str],
    resize: bool,
    options: dict[str, Any],
    on_skip: Callable[[str, str], None] | None,
) -> tuple[ImageSet, dict[str, Any]]:
    skip = on_skip or _refuse
    task = predictor.task.with_group(group)
    ids, labels, pixels, truth, beside = [], [], [], [], []
    records = read(path, **options, on_skip=lambda where, why: skip(str(where), why))
    for record in completed(records, path, predictor.columns):
        if split is not None and record.split != split:
            continue
        if record.label is None:
            skip(record.source or record.id, "has no label: put labelled images into one folder per class")
            continue
        label = task.encode(np.array([record.label], dtype=object))[0]  # an unknown class ends the evaluation
        try:
            check_bands(record.metadata.get("bands"), predictor.bands, record.source or record.id)
            image = resize_image(record.image, predictor.shape[1:]) if resize else record.image
            image, numbers = check(image, predictor.shape, record.source or record.id), values_of(record, predictor.columns)
        except InputError as error:
            skip(record.id, str(error))
            continue
        pixels.append(image)
        beside.append(numbers)
        ids.append(record.id)
        labels.append(label)
        truth.append(record.truth)
    if not pixels:
        wanted = f" in split {split!r}" if split else ""
        needed = f"it needs {_size(predictor.shape)} images in one folder per class"
        raise InputError(f"{path} has no labelled image that fits the model{wanted}: {needed}")
    known = {name: np.array([t.get(name, np.nan) for t in truth]) for name in AGAINST if any(name in t for t in truth)}
    columns = dict(zip(predictor.columns, np.array(beside, np.float32).T, strict=True))
    images = ImageSet(np.stack(pixels), np.array(labels), np.array(ids, dtype=object), task.classes, truth=known, columns=columns)
    return images, _card(path, images, split, group)


def _card(path: Path, images: ImageSet, split: str | None, group: dict[str, str]) -> dict[str, Any]:
    manifest = Table.open(path).manifest if (path / MANIFEST).is_file() else {}
    kept = {
        k: manifest.get(k) for k in ("preset", "summary", "notes", "instrument", "pixel_scale", "flux_unit", "seed", "synthetic")
    }
    return kept | {
        "source": str(manifest.get("source") or path),
        "shape": list(images.shape),
        "classes": list(images.classes),
        "counts": images.counts,
        "rows": len(images),
        "split": split,
        "group": group,
    }


def _size(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]}-band {shape[1]}x{shape[2]}"


def _refuse(what: str, why: str) -> None:
    raise InputError(f"{what} {why}")
