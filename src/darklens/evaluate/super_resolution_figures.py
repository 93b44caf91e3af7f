"""The pictures of a super-resolution run: rows of images from coarse to true, and spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, TwoSlopeNorm

from darklens.evaluate.figures import plot_history
from darklens.evaluate.style import COLOURS, FAINT, INK, SKY_MAP, FigureSet, dress, legend, new_figure
from darklens.evaluate.wording import format_interval

SOFTENING = 0.05
"""Where the stretch of the images turns from linear to logarithmic, as a fraction of the sharp image's range."""
SIGMAS = 5.0
"""Ends of the scale of the differences."""


def save_super_resolution_figures(
    folder: Path,
    low: np.ndarray,
    answers: Mapping[str, np.ndarray],
    targets: np.ndarray,
    noise: np.ndarray,
    metrics: dict[str, Any],
    history: Sequence[dict[str, float]],
    *,
    gain: float = 1.0,
    target_name: str = "sharp image",
    unit: str = "",
    rows: int = 4,
) -> None:
    """Draw rows of images, spectra, and the training history.

    Args:
        folder: where the pictures go.
        low: `(n, bands, h, w)` coarse images.
        answers: method -> `(n, bands, H, W)`; bicubic and the network.
        targets: `(n, bands, H, W)`.
        noise: `(n, 1, H, W)` or what broadcasts to it: what differences are divided by.
        metrics: of `super_resolution_metrics`.
        history: rows of `history.csv`; none draws no history.
        gain: value of a fine pixel for that of a coarse one.
        target_name: what the targets are called.
        unit: of a pixel.
        rows: images that are shown.
    """
    pictures = FigureSet(folder)
    _rows(pictures, low, answers, targets, noise, metrics, gain, target_name, unit, rows)
    _spectra(pictures, metrics)
    if history:
        _history(pictures, history)


def _rows(
    pictures: FigureSet,
    low: np.ndarray,
    answers: Mapping[str, np.ndarray],
    targets: np.ndarray,
    noise: np.ndarray,
    metrics: dict[str, Any],
    gain: float,
    target_name: str,
    unit: str,
    rows: int,
) -> None:
    chosen = np.linspace(0, len(low) - 1, min(rows, len(low))).round().astype(int)
    network = metrics["network"]
    figure = new_figure(11.2, 1.95 * len(chosen) + 0.7)
    axes = figure.subplots(len(chosen), 6, squeeze=False)
    noise = np.broadcast_to(noise, (*targets.shape[:1], 1, *targets.shape[2:]))
    for row, i in zip(axes, chosen, strict=True):
        target = targets[i, 0]
        norm = _stretch(target)
        shown = {"coarse": gain * low[i, 0], "bicubic": answers["bicubic"][i, 0], network: answers[network][i, 0]}
        for ax, (title, image) in zip(row, (shown | {target_name: target}).items(), strict=False):
            drawn = ax.imshow(image, origin="lower", cmap=SKY_MAP, norm=norm, interpolation="nearest")
            _bare(ax, title if i == chosen[0] else "")
        _bar(figure, drawn, row[3], np.asarray(norm.inverse([0.0, 0.5, 1.0])).tolist(), unit if i == chosen[0] else "")
        for ax, method in zip(row[4:], ("bicubic", network), strict=True):
            error = (answers[method][i, 0] - target) / noise[i, 0]
            drawn = ax.imshow(error, origin="lower", cmap="RdBu_r", norm=TwoSlopeNorm(0, -SIGMAS, SIGMAS), interpolation="nearest")
            _bare(ax, f"{method} less {target_name}" if i == chosen[0] else "")
        _bar(figure, drawn, row[5], [-SIGMAS, 0, SIGMAS], "$\\sigma$" if i == chosen[0] else "")
    pictures.add(
        figure,
        "pairs.png",
        "From coarse to sharp",
        "A row a lens, evenly spread over the test set: the coarse image (its pixels in the unit of fine ones), bicubic, "
        f"{network}, the {target_name}, all on one stretch, and what the two miss, in units of the sky's noise in the sharp image.",
        f"Coarse image, bicubic, {network}, {target_name} and differences in sigma of {len(chosen)} test lenses",
    )


def _stretch(image: np.ndarray) -> FuncNorm:
    low, high = np.quantile(image, 0.005), float(image.max())
    soft = SOFTENING * max(high - low, 1e-30)

    def forward(values: np.ndarray) -> np.ndarray:
        return np.arcsinh((np.asarray(values) - low) / soft)

    def inverse(values: np.ndarray) -> np.ndarray:
        return low + soft * np.sinh(values)

    return FuncNorm((forward, inverse), vmin=low, vmax=max(high, low + 1e-30))


def _bare(ax: Axes, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8, color=INK)


def _bar(figure: Any, drawn: Any, ax: Axes, ticks: Sequence[float], title: str) -> None:
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.025)
    bar.set_ticks(list(ticks), labels=[f"{tick:.3g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=6, colors=INK, length=2, pad=1.5)
    bar.outline.set_visible(False)
    if title:
        bar.ax.set_title(title.replace("e-", "e$^-$"), fontsize=6.5, color=INK, loc="left", pad=4)


def _spectra(pictures: FigureSet, metrics: dict[str, Any]) -> None:
    found = metrics["spectra"]
    k = np.array(found["k"])
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2)
    for ax, key, title in ((left, "ratio", "Power over that of the target"), (right, "correlation", "Correlation with the target")):
        for (name, curves), colour in zip(found["methods"].items(), COLOURS, strict=False):
            ax.plot(k, curves[key]["value"], color=colour, linewidth=1.5, label=name)
            ax.fill_between(k, curves[key]["low"], curves[key]["high"], color=colour, alpha=0.18, linewidth=0)
        ax.axhline(1, color=FAINT, linewidth=0.8)
        ax.axvline(found["k_signal"], color=FAINT, linewidth=1, linestyle=":")
        ax.set_xlim(0, min(k[-1], 2 * found["k_signal"]))
        dress(ax, title, "cycles a side")
    left.set_ylim(0, 2)
    right.set_ylim(-0.05, 1.05)
    legend(left, "")
    pictures.add(
        figure,
        "spectra.png",
        "Power and correlation against scale",
        f"Azimuthal means over {metrics['n']:,} test images with 95% bootstrap bands. Right of the dotted line, "
        f"{found['k_signal']} cycles a side, a sharp image as recorded is mostly noise. Largest deviation of the power of "
        f"{metrics['network']} up to there: {format_interval(metrics['power_error'])}.",
        f"Power ratio and cross-correlation of {', '.join(found['methods'])} against spatial frequency",
    )


def _history(pictures: FigureSet, history: Sequence[dict[str, float]]) -> None:
    best = min(history, key=lambda row: row["val_loss"])
    figure = new_figure(9.6, 2.9)
    axes = figure.subplots(1, 3)
    plot_history(axes, history, "val_gain_db", "Gain over bicubic on validation (dB)")
    axes[1].axhline(0, color=FAINT, linewidth=0.8)
    pictures.add(
        figure,
        "history.png",
        "Training history",
        f"The weights that are kept are those of epoch {best['epoch']:.0f} of {len(history)} (dotted), "
        "which has the smallest loss on validation.",
        f"Loss, gain over bicubic and learning rate over {len(history)} epochs",
    )
