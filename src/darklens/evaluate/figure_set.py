"""Which figures a run gets, with their titles, captions and alt texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens.evaluate import figures
from darklens.evaluate.style import FigureSet, new_figure

PER_CLASS = 4
MISTAKES = 8


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
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    figures.plot_roc(left, probabilities, labels, metrics)
    figures.plot_precision_recall(right, probabilities, labels, metrics)
    pictures.add(
        figure,
        "curves.png",
        "ROC and precision-recall curves",
        f"Each class against the rest on {len(labels):,} images; areas with their 95% bootstrap intervals. "
        "The false positive rate is logarithmic: that is where good classifiers differ.",
        f"ROC and precision-recall curves of {', '.join(classes)}; macro AUC {metrics['auc_macro']['value']:.4f}",
    )
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    figures.plot_confusion(left, metrics["confusion_matrix"], classes)
    figures.plot_reliability(right, probabilities, labels, metrics)
    pictures.add(
        figure,
        "confusion.png",
        "Confusion matrix and reliability",
        "Left: rows are the true classes; shading is the fraction of the row. Right: accuracy of images in bins of "
        "calibrated confidence with binomial errors; a calibrated classifier lies on the dotted line.",
        f"Confusion matrix of {', '.join(classes)} and reliability diagram; accuracy {metrics['accuracy']['value']:.4f}",
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
        f"Validation judges the weights that are kept; the best epoch is {best['epoch']:.0f} of {len(history)}.",
        f"Loss, accuracy and learning rate over {len(history)} epochs",
    )
    columns = min(16, maps.shape[1])
    figure = new_figure(9.6, 0.62 * len(maps) + 0.3)
    axes = figure.subplots(len(maps), columns + 1, squeeze=False)
    for row, image, features, name in zip(axes, inputs, maps, names, strict=True):
        row[0].imshow(np.arcsinh(image / 0.1), origin="lower", cmap="magma")
        row[0].set_ylabel(name, fontsize=7)
        row[0].set_xticks([])
        row[0].set_yticks([])
        figures.plot_feature_maps(row[1:], features)
    pictures.add(
        figure,
        "features.png",
        "What the first convolution sees",
        f"An image of each class (left) and its first {columns} of {maps.shape[1]} feature maps, each on its own scale.",
        f"Feature maps of the first convolution for {', '.join(names)}",
    )


def save_gallery(path: Path, table: Any, per_class: int = PER_CLASS) -> None:
    """Draw a gallery of a table's images, some of each class, into one picture.

    Args:
        path: PNG file.
        table: a `darklens.data.Table`.
        per_class: images of each class.
    """
    labels = np.array([str(v) if v is not None else "unlabelled" for v in table.labels])
    names = list(dict.fromkeys([c for c in table.classes if c in set(labels)] + sorted(set(labels))))
    chosen = np.concatenate([np.flatnonzero(labels == name)[:per_class] for name in names])
    images, columns = table.images(chosen)[:, 0], min(per_class, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(2.45 * columns, 2.25 * rows)
    figures.plot_gallery(
        figure.subplots(rows, columns, squeeze=False),
        images,
        labels[chosen].tolist(),
        unit=table.manifest.get("flux_unit") or "",
        pixel_scale=table.pixel_scale,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")


def _examples(
    pictures: FigureSet,
    labels: np.ndarray,
    classes: Sequence[str],
    images: np.ndarray,
    unit: str,
    pixel_scale: float | None,
) -> None:
    groups = [np.flatnonzero(labels == k)[:PER_CLASS] for k in range(len(classes))]
    chosen = np.concatenate(groups)
    figure = new_figure(2.45 * PER_CLASS, 2.2 * len(classes))
    axes = figure.subplots(len(classes), PER_CLASS, squeeze=False)
    for row, members, name in zip(axes, groups, classes, strict=True):
        figures.plot_gallery(
            row,
            images[members][:, 0] if len(members) else np.zeros((0, 1, 1)),
            [name] * len(members),
            unit=unit,
            pixel_scale=pixel_scale,
        )
    pictures.add(
        figure,
        "examples.png",
        "Example images",
        f"The first {PER_CLASS} images of each class in the test set (first band), asinh stretch, colour bars in the data's unit"
        + (f' ({unit}); the white bar is 1".' if pixel_scale else f" ({unit})."),
        f"{len(chosen)} lens images of the classes {', '.join(classes)}",
    )


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
        return
    titles = [f"{classes[labels[i]]} taken for {classes[predicted[i]]}\nat {probabilities[i].max():.3f}" for i in chosen]
    rows = -(-len(chosen) // PER_CLASS)
    figure = new_figure(2.45 * PER_CLASS, 2.45 * rows)
    figures.plot_gallery(
        figure.subplots(rows, PER_CLASS, squeeze=False),
        images[chosen][:, 0],
        titles,
        unit=unit,
        pixel_scale=pixel_scale,
    )
    named = ", ".join(str(ids[i]) for i in chosen)
    pictures.add(
        figure,
        "mistakes.png",
        "Most confident mistakes",
        f"The {len(chosen)} most confident of {len(wrong):,} wrong answers among {len(labels):,}: {named}.",
        f"{len(chosen)} misclassified lens images",
    )
