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
from darklens.evaluate.figure_set import save_classification_figures, save_training_figures
from darklens.models import first_convolution
from darklens.runs import Evaluation
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor, softmax
from darklens.train.preprocess import check, prepare

FEWEST = 5
"""Images below which an interval would be a guess."""


def calibrate(predictor: Predictor, validation: ImageSet) -> None:
    """Fit the temperature on validation images and write `calibration.json`."""
    logits = predictor.logits_of(validation)
    predictor.temperature = fit_temperature(logits, validation.labels)
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
        },
    )


def evaluate_test(predictor: Predictor, test: ImageSet, card: dict[str, Any]) -> dict[str, Any]:
    """Look at the test split, once: predictions, figures and metrics of the run itself.

    Returns:
        The metrics; they are written last, so that a run with metrics is complete.
    """
    run = predictor.run
    first = np.array([np.flatnonzero(test.labels == k)[0] for k in np.unique(test.labels)])
    inputs = prepare(test.seen_as(predictor.preprocess.input).batch(first)[0], predictor.preprocess)
    names = [test.classes[k] for k in np.unique(test.labels)]
    save_training_figures(run.path / "figures", run.history, feature_maps(predictor, inputs), inputs[:, 0].numpy(), names)
    start = time.perf_counter()
    predictor.logits_of(test)
    rate = len(test) / (time.perf_counter() - start)
    run.write("provenance", (run.provenance or {}) | {"predict_images_per_s": round(rate, 1)})
    return judge(predictor, test, run, card)


def judge(predictor: Predictor, images: ImageSet, into: Evaluation, card: dict[str, Any]) -> dict[str, Any]:
    """Measure a model on labelled images and write metrics, predictions, figures and the data card into a folder."""
    probabilities = softmax(predictor.logits_of(images) / predictor.temperature)
    metrics = classification_metrics(probabilities, images.labels, predictor.classes)
    columns = {name: probabilities[:, k] for k, name in enumerate(predictor.classes)}
    names = np.array(predictor.classes, dtype=object)
    ids = [str(i) for i in images.ids]
    into.write("data", card)
    into.write_predictions({"id": ids, "label": names[images.labels], "predicted": names[probabilities.argmax(1)]} | columns)
    save_classification_figures(
        into.path / "figures",
        probabilities,
        images.labels,
        metrics,
        images.images,
        ids,
        unit=card.get("flux_unit") or "",
        pixel_scale=card.get("pixel_scale"),
    )
    into.write("metrics", metrics)
    return metrics


def feature_maps(predictor: Predictor, inputs: torch.Tensor) -> np.ndarray:
    """Return what the first convolution makes of prepared images, `(m, C, h, w)`."""
    kept: list[torch.Tensor] = []
    handle = first_convolution(predictor.model).register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        with torch.inference_mode():
            predictor.model.eval()(inputs.to(predictor.device))
    finally:
        handle.remove()
    return kept[0].float().cpu().numpy()


def evaluate_path(
    predictor: Predictor,
    path: Path,
    *,
    name: str | None = None,
    split: str | None = None,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    on_skip: Callable[[str, str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on other labelled data, into `RUN/evaluations/NAME`; see `darklens.evaluate`."""
    images, card = _labelled(predictor, path, split, group or {}, resize, hdu, on_skip)
    if len(images) < FEWEST:
        raise InputError(f"{path} has {len(images)} labelled images: an interval needs at least {FEWEST}")
    place = predictor.run.evaluation(name or path.resolve().name)
    return judge(predictor, images, place, card)


def _labelled(
    predictor: Predictor,
    path: Path,
    split: str | None,
    group: dict[str, str],
    resize: bool,
    hdu: int | str | None,
    on_skip: Callable[[str, str], None] | None,
) -> tuple[ImageSet, dict[str, Any]]:
    skip = on_skip or _refuse
    task = predictor.task.with_group(group)
    ids, labels, pixels = [], [], []
    for record in read(path, hdu=hdu, on_skip=lambda where, why: skip(str(where), why)):
        if split is not None and record.split != split:
            continue
        if record.label is None:
            skip(record.source or record.id, "has no label: put labelled images into one folder per class")
            continue
        label = task.encode(np.array([record.label], dtype=object))[0]  # an unknown class ends the evaluation
        try:
            image = resize_image(record.image, predictor.shape[1:]) if resize else record.image
            pixels.append(check(image, predictor.shape, record.source or record.id))
        except InputError as error:
            skip(record.id, str(error))
            continue
        ids.append(record.id)
        labels.append(label)
    if not pixels:
        wanted = f" in split {split!r}" if split else ""
        needed = f"it needs {_size(predictor.shape)} images in one folder per class"
        raise InputError(f"{path} has no labelled image that fits the model{wanted}: {needed}")
    images = ImageSet(np.stack(pixels), np.array(labels), np.array(ids, dtype=object), task.classes)
    return images, _card(path, images, split, group)


def _card(path: Path, images: ImageSet, split: str | None, group: dict[str, str]) -> dict[str, Any]:
    manifest = Table.open(path).manifest if (path / MANIFEST).is_file() else {}
    kept = {k: manifest.get(k) for k in ("preset", "summary", "notes", "instrument", "pixel_scale", "flux_unit", "seed")}
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
