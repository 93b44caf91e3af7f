"""Figures: functions that draw data on a matplotlib axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from darklens.evaluate.calibration import BINS, bin_of
from darklens.evaluate.curves import precision_recall_curve, roc_curve
from darklens.evaluate.proportion import wilson
from darklens.evaluate.style import COLOURS, FAINT, INK, SKY_MAP, dress, legend
from darklens.evaluate.wording import format_interval

SOFTENING = 0.05
"""Where the asinh stretch turns from linear to logarithmic, as a fraction of the image's range."""


def plot_roc(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Draw one-vs-rest ROC curves, false positive rate on a logarithmic axis, where good classifiers differ."""
    floor = 0.5 / max(len(labels), 1)
    chance = np.geomspace(floor, 1, 100)
    ax.plot(chance, chance, color=FAINT, linewidth=1, linestyle=":", label="chance")
    for k, name in enumerate(metrics["classes"]):
        if metrics["auc"][name]["value"] is None:
            continue
        false, true = roc_curve(probabilities[:, k], labels == k)
        label = f"{name}  {format_interval(metrics['auc'][name])}"
        ax.step(np.maximum(false, floor), true, where="post", color=COLOURS[k % len(COLOURS)], linewidth=1.6, label=label)
    ax.set_xscale("log")
    ax.set_xlim(floor, 1)
    ax.set_ylim(0, 1.02)
    dress(ax, "ROC, each class against the rest", "false positive rate", "true positive rate")
    legend(ax, "area under the curve")


def plot_precision_recall(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Draw one-vs-rest precision-recall curves; the area below each is its average precision."""
    for k, name in enumerate(metrics["classes"]):
        ap = metrics["average_precision_per_class"][name]
        if ap["value"] is None:
            continue
        recall, precision = precision_recall_curve(probabilities[:, k], labels == k)
        recall, precision = np.append(0.0, recall), np.append(precision[0], precision)
        label = f"{name}  {format_interval(ap)}"
        ax.step(recall, precision, where="pre", color=COLOURS[k % len(COLOURS)], linewidth=1.6, label=label)
        ax.axhline((labels == k).mean(), color=COLOURS[k % len(COLOURS)], linewidth=0.8, linestyle=":")
    ax.set_xlim(0, 1.005)
    ax.set_ylim(0, 1.02)
    dress(ax, "Precision and recall", "recall", "precision")
    legend(ax, "average precision")


def plot_confusion(ax: Axes, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Draw a confusion matrix: counts, shaded by the fraction of the true class."""
    counts = np.asarray(matrix)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = max(5.0, 9.5 - 0.5 * len(classes))
    for i, j in np.ndindex(counts.shape):
        colour = "white" if share[i, j] > 0.55 else INK
        ax.text(j, i, f"{counts[i, j]:,}\n{share[i, j]:.1%}", ha="center", va="center", fontsize=size, color=colour)
    ax.set_xticks(range(len(classes)), classes)
    ax.set_yticks(range(len(classes)), classes, rotation=90, va="center")
    dress(ax, "Confusion matrix", "predicted class", "true class")
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_xticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    ax.grid(True, which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)


def plot_reliability(ax: Axes, probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Draw accuracy against confidence with 95% Wilson intervals, in the bins of the calibration error, and a histogram below."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = bin_of(confidence)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    for b in np.unique(which):
        inside = which == b
        low, high = wilson(int(right[inside].sum()), int(inside.sum()))
        x, y = confidence[inside].mean(), right[inside].mean()
        ax.plot([x, x], [low, high], color=COLOURS[0], linewidth=1.3)
        ax.plot(x, y, "o", color=COLOURS[0], markersize=5, markeredgecolor="white", markeredgewidth=0.7)
    start = 1 / probabilities.shape[1] - 0.03
    ax.set_xlim(start, 1.01)
    ax.set_ylim(0, 1.03)
    for x, y, words, side in ((0.03, 0.95, "too modest", "left"), (0.97, 0.3, "too sure", "right")):
        ax.text(x, y, words, transform=ax.transAxes, fontsize=7.5, style="italic", color=FAINT, ha=side)
    dress(ax, f"Reliability: ECE {format_interval(metrics['ece'])}", "confidence", "accuracy")
    strip = ax.inset_axes((0, 0, 1, 0.2))
    strip.hist(confidence, bins=np.linspace(0, 1, 2 * BINS + 1).tolist(), color=COLOURS[0], alpha=0.25, log=True)
    strip.set_xlim(start, 1.01)
    strip.set_ylim(0.5, None)
    strip.axis("off")
    ax.text(0.03, 0.03, "images (log)", transform=ax.transAxes, fontsize=6.5, color=COLOURS[0])


def plot_history(
    axes: Sequence[Axes], history: Sequence[Mapping[str, float]], score: str = "val_accuracy", title: str = "Accuracy on validation"
) -> None:
    """Draw loss, a score and learning rate against the epoch, on three axes, with the epoch whose weights are kept."""
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: row["val_loss"])
    curves = (
        (axes[0], "train_loss", COLOURS[0], "training"),
        (axes[0], "val_loss", COLOURS[1], "validation"),
        (axes[1], score, COLOURS[1], "validation"),
        (axes[2], "lr", COLOURS[2], "learning rate"),
    )
    for ax, key, colour, label in curves:
        ax.plot(epochs, [row[key] for row in history], color=colour, marker="o", markersize=3, linewidth=1.4, label=label)
    for ax, name in zip(axes, ("Loss", title, "Learning rate"), strict=True):
        dress(ax, name, "epoch")
        ax.axvline(best["epoch"], color=FAINT, linewidth=1, linestyle=":", zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses = [row[key] for row in history for key in ("train_loss", "val_loss")]
    if min(losses) > 0:
        axes[0].set_yscale("log")
        ticks = [f * 10.0**e for e in range(-6, 4) for f in (1, 2, 5)]
        axes[0].set_yticks([t for t in ticks if 0.8 * min(losses) < t < 1.25 * max(losses)])
        axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes[0].yaxis.set_minor_formatter(NullFormatter())
    if score == "val_accuracy":
        axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes[2].yaxis.set_major_locator(MaxNLocator(5))
    axes[2].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0].legend(fontsize=7.5, frameon=False)


def show_image(
    ax: Axes,
    image: np.ndarray,
    *,
    title: str = "",
    unit: str = "",
    pixel_scale: float | None = None,
    bar: bool = True,
    among: np.ndarray | None = None,
) -> None:
    """Show one image with an asinh stretch, a colour bar in its own unit and a scale bar in arcsec.

    The stretch starts at the 0.5th percentile (the sky) and ends at the maximum, or, where a few pixels tower above all others
    (a star, a cosmic ray), at five times the 99.5th percentile.

    Args:
        ax: where.
        image: `(H, W)`, row index growing with +y; pixels that are not finite stay grey. Or a picture in colour `(H, W, 3)` in 0 to
            1, which is shown as it is, without a colour bar.
        title: above it.
        unit: of the pixel values.
        pixel_scale: arcsec a pixel, for the scale bar.
        bar: draw the colour bar.
        among: images `(n, H, W)` that share one stretch with it; its own by default.
    """
    in_colour = image.ndim == 3
    norm, beyond = (None, False) if in_colour else _stretch(image if among is None else among)
    drawn = ax.imshow(image, origin="lower", cmap=SKY_MAP, norm=norm, interpolation="nearest")
    ax.set_facecolor("#9aa0ac")
    ax.xaxis.set_visible(False)
    ax.yaxis.set_visible(False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8, color=INK)
    if pixel_scale:
        _scale_bar(ax, image.shape, pixel_scale)
    if not bar or norm is None:
        return
    assert norm.vmin is not None  # `_stretch` sets both ends
    assert norm.vmax is not None
    ticks = np.asarray(norm.inverse(np.linspace(0, 1, 5))).tolist()
    scale = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.025, extend="max" if beyond else "neither")
    scale.set_ticks(ticks, labels=[_tick(t, norm.vmax - norm.vmin) for t in ticks])
    scale.ax.minorticks_off()
    scale.ax.tick_params(labelsize=6, colors=INK, length=2, pad=1.5)
    scale.outline.set_visible(False)
    if unit:
        scale.ax.set_title(unit.replace("e-", "e$^-$"), fontsize=6.5, color=INK, loc="left", pad=4)


def plot_gallery(
    axes: np.ndarray, images: Sequence[np.ndarray], titles: Sequence[str], *, unit: str = "", pixel_scale: float | None = None
) -> None:
    """Show images on a grid of axes; axes that are left over are switched off."""
    for i, ax in enumerate(np.ravel(axes)):
        if i < len(images):
            show_image(ax, images[i], title=titles[i], unit=unit, pixel_scale=pixel_scale)
        else:
            ax.axis("off")


def plot_feature_maps(ax: Axes, maps: np.ndarray, rows: int, columns: int) -> None:
    """Show the first feature maps of `(C, h, w)` on a grid, each on its own symmetric scale around zero.

    They are one picture: a grid of axes would take longer to lay out than to draw.
    """
    _, height, width = maps.shape
    gap = max(1, round(0.06 * max(height, width)))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for (i, j), features in zip(np.ndindex(rows, columns), maps, strict=False):
        top, left = (rows - 1 - i) * (height + gap), j * (width + gap)
        sheet[top : top + height, left : left + width] = features / (float(np.abs(features).max()) or 1.0)
    ax.imshow(sheet, origin="lower", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.axis("off")


def _stretch(image: np.ndarray) -> tuple[FuncNorm, bool]:
    """Return the asinh stretch of an image, and whether pixels lie beyond its end."""
    finite = image[np.isfinite(image)].astype(np.float64)
    low, shoulder = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    high = min(finite.max(), low + 5 * (shoulder - low)) if finite.size and shoulder > low else shoulder
    if high <= low:
        low, high = (finite.min(), finite.max()) if finite.size and finite.max() > finite.min() else (low, low + 1.0)
    width = SOFTENING * (high - low)
    norm = FuncNorm((lambda x: np.arcsinh((x - low) / width), lambda u: low + width * np.sinh(u)), vmin=low, vmax=high)
    return norm, bool(finite.size and finite.max() > high)


def _tick(value: float, span: float) -> str:
    return "0" if abs(value) < 1e-4 * span else f"{value:.2g}" if abs(value) < 100 else f"{value:.4g}"


def _scale_bar(ax: Axes, shape: tuple[int, ...], pixel_scale: float) -> None:
    """Draw a bar of a round length, about a fifth of the image."""
    field = shape[1] * pixel_scale
    length = max((f * 10.0**e for e in range(-4, 5) for f in (1, 2, 5) if f * 10.0**e <= 0.26 * field), default=field / 5)
    x, y, edge = 0.06 * shape[1], 0.07 * shape[0], [withStroke(linewidth=3, foreground="#00000090")]
    ax.plot([x, x + length / pixel_scale], [y, y], color="white", linewidth=1.8, solid_capstyle="butt", path_effects=edge)
    place = (x + 0.5 * length / pixel_scale, y + 0.025 * shape[0])
    ax.text(*place, f'{length:g}"', color="white", fontsize=7, ha="center", va="bottom", path_effects=edge)
