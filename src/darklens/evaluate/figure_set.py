"""Which figures a run gets, with their titles, captions and alt texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import Record, class_order
from darklens.errors import InputError
from darklens.evaluate import figures
from darklens.evaluate.composite import pictures as in_colour
from darklens.evaluate.style import FigureSet, new_figure, save_png
from darklens.evaluate.wording import format_interval

PER_CLASS = 4
ROWS_OF_ONE_CLASS = 4
MISTAKES = 8
MAPS = (2, 8)
"""Rows and columns of feature maps beside each image."""


def save_classification_figures(
    folder: Path,
    probabilities: np.ndarray,
    labels: np.ndarray,
    metrics: dict[str, Any],
    images: np.ndarray,
    ids: Sequence[str],
    *,
    unit: str = "",
    pixel_scale: float | None = None,
) -> None:
    """Draw examples, ROC and precision-recall curves, confusion matrix, reliability, and the most confident mistakes.

    Args:
        folder: where the pictures go.
        probabilities: `(n, k)`.
        labels: `(n,)` class indices.
        metrics: what `classification_metrics` returned for them.
        images: `(n, bands, H, W)`; only the few that are shown are read.
        ids: n names.
        unit: of the pixel values.
        pixel_scale: arcsec a pixel.
    """
    pictures = FigureSet(folder)
    classes = metrics["classes"]
    _examples(pictures, labels, classes, images, unit, pixel_scale)
    figure = new_figure(9.6, 3.2 + 0.18 * len(classes))
    left, right = figure.subplots(1, 2)
    figures.plot_roc(left, probabilities, labels, metrics)
    figures.plot_precision_recall(right, probabilities, labels, metrics)
    pictures.add(
        figure,
        "curves.png",
        "ROC and precision-recall curves",
        f"Each class against the rest on {len(labels):,} images; areas with their 95% bootstrap intervals. "
        "The false positive rate is logarithmic: that is where good classifiers differ. Dotted: guessing.",
        f"ROC and precision-recall curves of {', '.join(classes)}; macro AUC {format_interval(metrics['auc_macro'])}",
    )
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    figures.plot_confusion(left, metrics["confusion_matrix"], classes)
    figures.plot_reliability(right, probabilities, labels, metrics)
    pictures.add(
        figure,
        "confusion.png",
        "Confusion matrix and reliability",
        "Left: rows are the true classes; shading is the fraction of the row. Right: accuracy of images in bins of confidence, "
        "with 95% Wilson intervals; a calibrated classifier lies on the dotted line.",
        f"Confusion matrix of {', '.join(classes)} and reliability diagram; accuracy {format_interval(metrics['accuracy'])}",
    )
    _mistakes(pictures, probabilities, labels, classes, images, ids, unit, pixel_scale)


def save_training_figures(
    folder: Path, history: Sequence[dict[str, float]], maps: np.ndarray, inputs: np.ndarray, names: Sequence[str]
) -> None:
    """Draw the training history and the maps of the first convolution.

    Args:
        folder: where the pictures go.
        history: rows of `history.csv`.
        maps: `(m, C, h, w)` output of the first convolution for m images.
        inputs: `(m, H, W)` those images, as the network sees them.
        names: m names.
    """
    pictures = FigureSet(folder)
    figure = new_figure(9.6, 2.9)
    figures.plot_history(figure.subplots(1, 3), history)
    best = min(history, key=lambda row: row["val_loss"])
    pictures.add(
        figure,
        "history.png",
        "Training history",
        f"The weights that are kept are those of epoch {best['epoch']:.0f} of {len(history)} (dotted), "
        "which has the smallest loss on validation.",
        f"Loss, accuracy and learning rate over {len(history)} epochs",
    )
    save_first_maps(folder, maps, inputs, names)


def save_first_maps(folder: Path, maps: np.ndarray, inputs: np.ndarray, names: Sequence[str]) -> None:
    """Draw features.png: what the first convolution makes `(m, C, h, w)` of m images `(m, H, W)` as the network sees them."""
    rows, columns = MAPS
    figure = new_figure(9.6, 1.85 * len(maps))
    axes = figure.subplots(len(maps), 2, squeeze=False, width_ratios=(rows, columns))
    for (left, right), image, features, name in zip(axes, inputs, maps, names, strict=True):
        figures.show_image(left, image, title=name, bar=False)
        figures.plot_feature_maps(right, features, rows, columns)
    FigureSet(folder).add(
        figure,
        "features.png",
        "What the first convolution sees",
        f"An image of each class as the network receives it, and its first {min(rows * columns, maps.shape[1])} of "
        f"{maps.shape[1]} feature maps, each on its own scale: red positive, blue negative.",
        f"Feature maps of the first convolution for {', '.join(names)}",
    )


def save_gallery(
    path: Path, records: Iterable[Record], *, per_class: int = PER_CLASS, unit: str = "", pixel_scale: float | None = None
) -> None:
    """Draw the first images of each class into one picture, a row a class, in colour where they have three bands or more.

    Args:
        path: PNG file.
        records: images with labels, streamed; shapes may differ.
        per_class: images of each class; four times as many, in rows, where there is one class only.
        unit: of the pixel values.
        pixel_scale: arcsec a pixel, where the records do not say.
    """
    kept: dict[str, list[Record]] = {}
    for record in records:
        group = kept.setdefault(record.label or "unlabelled", [])
        if len(group) < ROWS_OF_ONE_CLASS * per_class:
            group.append(record)
    if not kept:
        raise InputError("there is no image to draw: give at least 1")
    names = class_order(kept)
    most = per_class if len(names) > 1 else ROWS_OF_ONE_CLASS * per_class
    shown = [(name, record) for name in names for record in kept[name][:most]]
    views = dict(zip((id(record) for _, record in shown), in_colour([record.image for _, record in shown]), strict=True))
    rows = [(name, kept[name][i : i + per_class]) for name in names for i in range(0, min(most, len(kept[name])), per_class)]
    columns = max(len(group) for _, group in rows)
    figure = new_figure(2.45 * columns, 2.25 * len(rows))
    for axes, (name, group) in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for ax, record in zip_longest(axes, group):
            if record is None:
                ax.axis("off")
                continue
            scale = record.metadata.get("pixel_scale") or pixel_scale
            figures.show_image(ax, views[id(record)], title=name, unit=unit, pixel_scale=scale)
    save_png(figure, Path(path))


def _examples(
    pictures: FigureSet,
    labels: np.ndarray,
    classes: Sequence[str],
    images: np.ndarray,
    unit: str,
    pixel_scale: float | None,
) -> None:
    groups = {classes[k]: np.flatnonzero(labels == k)[:PER_CLASS] for k in np.unique(labels)}
    figure = new_figure(2.45 * PER_CLASS, 2.2 * len(groups))
    axes = figure.subplots(len(groups), PER_CLASS, squeeze=False)
    shown = in_colour(images[np.concatenate(list(groups.values()))])
    for row, (name, members) in zip(axes, groups.items(), strict=True):
        views, shown = shown[: len(members)], shown[len(members) :]
        figures.plot_gallery(row, views, [name] * len(members), unit=unit, pixel_scale=pixel_scale)
    pictures.add(
        figure,
        "examples.png",
        "Example images",
        f"The first {PER_CLASS} test images of each class, {_how_shown(images.shape[1], unit)}"
        + ("; the white bar gives the scale in arcsec." if pixel_scale else "."),
        f"{sum(map(len, groups.values()))} lens images of the classes {', '.join(groups)}",
    )


def _how_shown(bands: int, unit: str) -> str:
    """Say what pictures of so many bands show."""
    if bands >= 3:
        return "colour composites with an asinh stretch: the last band is red, the middle one green, the first blue"
    bars = f"colour bars in {unit}" if unit else "colour bars in the unit of the files, which they do not name"
    return f"{'' if bands == 1 else 'first band, '}asinh stretch, {bars}"


def _mistakes(
    pictures: FigureSet,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    images: np.ndarray,
    ids: Sequence[str],
    unit: str,
    pixel_scale: float | None,
) -> None:
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:MISTAKES]
    if not len(chosen):
        return pictures.discard("mistakes.png")
    titles = [f"{classes[labels[i]]} taken for {classes[predicted[i]]}\np = {probabilities[i].max():.3f}" for i in chosen]
    rows = -(-len(chosen) // PER_CLASS)
    figure = new_figure(2.45 * PER_CLASS, 2.45 * rows)
    figures.plot_gallery(
        figure.subplots(rows, PER_CLASS, squeeze=False),
        in_colour(images[chosen]),
        titles,
        unit=unit,
        pixel_scale=pixel_scale,
    )
    named = ", ".join(str(ids[i]) for i in chosen)
    return pictures.add(
        figure,
        "mistakes.png",
        "Most confident mistakes",
        f"The {len(chosen)} most confident of {len(wrong):,} wrong answers among {len(labels):,}: {named}.",
        f"{len(chosen)} misclassified lens images",
    )
