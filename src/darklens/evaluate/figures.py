"""Figures: functions that draw data on a matplotlib axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from darklens.evaluate.curves import precision_recall_curve, roc_curve
from darklens.evaluate.style import COLOURS, GRID, INK, SKY_MAP, dress


def plot_roc(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Draw one-vs-rest ROC curves, false positive rate on a logarithmic axis, where good classifiers differ."""
    floor = 0.5 / max(len(labels), 1)
    for k, name in enumerate(metrics["classes"]):
        auc = metrics["auc"][name]
        if auc["value"] is None:
            continue
        false, true = roc_curve(probabilities[:, k], labels == k)
        ax.step(
            np.maximum(false, floor),
            true,
            where="post",
            color=COLOURS[k % len(COLOURS)],
            linewidth=1.6,
            label=f"{name}: AUC {_interval(auc)}",
        )
    chance = np.geomspace(floor, 1, 100)
    ax.plot(chance, chance, color="#9aa0ac", linewidth=1, linestyle=":", label="chance")
    ax.set_xscale("log")
    ax.set_xlim(floor, 1)
    ax.set_ylim(0, 1.01)
    dress(ax, "ROC, one class against the rest", "false positive rate", "true positive rate")
    ax.legend(fontsize=7.5, frameon=False, loc="lower right")


def plot_precision_recall(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Draw one-vs-rest precision-recall curves."""
    for k, name in enumerate(metrics["classes"]):
        ap = metrics["average_precision_per_class"][name]
        if ap["value"] is None:
            continue
        recall, precision = precision_recall_curve(probabilities[:, k], labels == k)
        ax.step(
            recall,
            precision,
            where="post",
            color=COLOURS[k % len(COLOURS)],
            linewidth=1.6,
            label=f"{name}: AP {_interval(ap)}",
        )
    ax.set_xlim(0, 1.005)
    ax.set_ylim(0, 1.01)
    dress(ax, "Precision and recall", "recall", "precision")
    ax.legend(fontsize=7.5, frameon=False, loc="lower left")


def plot_confusion(ax: Axes, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Draw a confusion matrix: counts, shaded by the fraction of the true class."""
    counts = np.asarray(matrix)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(counts.shape):
        ax.text(
            j,
            i,
            f"{counts[i, j]:,}\n{share[i, j]:.1%}",
            ha="center",
            va="center",
            fontsize=8.5,
            color="white" if share[i, j] > 0.55 else INK,
        )
    ax.set_xticks(range(len(classes)), classes)
    ax.set_yticks(range(len(classes)), classes)
    dress(ax, "Confusion matrix", "predicted", "true")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def plot_reliability(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any], bins: int = 10) -> None:
    """Draw accuracy against confidence with binomial errors, and how many images have which confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    ax.plot([0, 1], [0, 1], color="#9aa0ac", linewidth=1, linestyle=":")
    for b in np.unique(which):
        inside = which == b
        n, mean = inside.sum(), right[inside].mean()
        error = np.sqrt(max(mean * (1 - mean), 0.25 / n) / n)
        ax.errorbar(
            confidence[inside].mean(),
            mean,
            yerr=error,
            fmt="o",
            color=COLOURS[0],
            markersize=5,
            capsize=2,
            linewidth=1.2,
        )
    ax.set_xlim(1 / probabilities.shape[1] - 0.05, 1.02)
    ax.set_ylim(0, 1.05)
    dress(ax, f"Reliability: ECE {_interval(metrics['ece'])}", "confidence", "accuracy")
    inset = ax.inset_axes((0.08, 0.68, 0.4, 0.24))
    inset.hist(confidence, bins=np.linspace(0, 1, 21), color=COLOURS[0], log=True)
    inset.tick_params(labelsize=6, colors=INK)
    inset.set_title("images by confidence", fontsize=7, color=INK)


def plot_history(axes: Sequence[Axes], history: Sequence[dict[str, float]]) -> None:
    """Draw loss, accuracy and learning rate against the epoch, on three axes."""
    epochs = [row["epoch"] for row in history]
    axes[0].plot(epochs, [row["train_loss"] for row in history], color=COLOURS[0], marker="o", markersize=3, label="training")
    axes[0].plot(
        epochs,
        [row["val_loss"] for row in history],
        color=COLOURS[1],
        marker="o",
        markersize=3,
        label="validation (judged weights)",
    )
    axes[0].set_yscale("log")
    axes[0].legend(fontsize=7.5, frameon=False)
    axes[1].plot(epochs, [row["val_accuracy"] for row in history], color=COLOURS[1], marker="o", markersize=3)
    axes[2].plot(epochs, [row["lr"] for row in history], color=COLOURS[2], marker="o", markersize=3)
    for ax, title in zip(axes, ("Loss", "Validation accuracy", "Learning rate at the epoch's start"), strict=True):
        dress(ax, title, "epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)


def show_image(
    ax: Axes, image: np.ndarray, *, title: str = "", unit: str = "", pixel_scale: float | None = None, bar: bool = True
) -> None:
    """Show one image with an asinh stretch, a colour bar in its own unit and a scale bar in arcsec.

    Args:
        ax: where.
        image: `(H, W)`, row index growing with +y.
        title: above it.
        unit: of the pixel values.
        pixel_scale: arcsec a pixel, for the scale bar.
        bar: draw the colour bar.
    """
    from matplotlib.colors import AsinhNorm

    low, high = float(image.min()), float(image.max())
    width = max((high - low) * 0.05, np.finfo(np.float32).tiny)
    drawn = ax.imshow(image, origin="lower", cmap=SKY_MAP, norm=AsinhNorm(width, vmin=low, vmax=high if high > low else low + 1))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=8.5, color=INK)
    if pixel_scale:
        length = 1 / pixel_scale
        ax.plot([3, 3 + length], [4, 4], color="white", linewidth=2, solid_capstyle="butt")
        ax.text(3 + length / 2, 6, '1"', color="white", fontsize=7, ha="center", va="bottom")
    if bar:
        scale = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.02)
        ticks = low + (high - low) * np.array([0, 0.03, 0.1, 0.3, 1.0])
        scale.set_ticks(ticks, labels=[f"{t:.3g}" for t in ticks])
        scale.ax.minorticks_off()
        scale.ax.tick_params(labelsize=6.5, colors=INK)
        if unit:
            scale.set_label(unit, fontsize=7, color=INK)


def plot_gallery(
    axes: np.ndarray, images: np.ndarray, titles: Sequence[str], *, unit: str = "", pixel_scale: float | None = None
) -> None:
    """Show images on a grid of axes; axes that are left over are switched off."""
    for i, ax in enumerate(np.ravel(axes)):
        if i < len(images):
            show_image(ax, images[i], title=titles[i], unit=unit, pixel_scale=pixel_scale)
        else:
            ax.axis("off")


def plot_feature_maps(axes: np.ndarray, maps: np.ndarray) -> None:
    """Show feature maps `(C, h, w)`, each on its own symmetric scale around zero, on a grid of axes."""
    for ax, features in zip(np.ravel(axes), maps, strict=False):
        limit = float(np.abs(features).max()) or 1.0
        ax.imshow(features, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
    for ax in np.ravel(axes):
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_edgecolor(GRID)


def _interval(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "-"
    return f"{number['value']:.4f}" + (f" [{number['low']:.4f}, {number['high']:.4f}]" if number["low"] is not None else "")
