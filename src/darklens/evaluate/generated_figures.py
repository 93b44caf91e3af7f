"""Pictures of generated images: beside real ones, beside what they might be copies of, and as curves and numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from darklens.evaluate.figures import show_image
from darklens.evaluate.style import COLOURS, FAINT, INK, FigureSet, dress, new_figure, save_png
from darklens.evaluate.wording import format_interval
from darklens.files import write_atomic

COLUMNS = 6
PAIRS = 4
MADE, REAL, OTHER = COLOURS[1], COLOURS[0], COLOURS[6]
RESIDUAL = 5.0
"""Units of the noise at which a picture of residuals saturates."""


def save_samples(
    pictures: FigureSet,
    made: np.ndarray,
    real: np.ndarray,
    titles: Sequence[str],
    *,
    unit: str = "",
    pixel_scale: float | None = None,
) -> None:
    """Draw generated images `(n, H, W)` below real ones of the same class and numbers, which the titles say."""
    n = min(2 * COLUMNS, len(made))
    figure = new_figure(1.72 * COLUMNS, 6.3 if n > COLUMNS else 3.3)
    axes = figure.subplots(4 if n > COLUMNS else 2, COLUMNS, squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    for i in range(n):
        row, column = 2 * (i // COLUMNS), i % COLUMNS
        for ax, image, title in ((axes[row, column], real[i], titles[i]), (axes[row + 1, column], made[i], "")):
            ax.axis("on")
            show_image(ax, image, title=title, unit=unit if column == 0 else "", pixel_scale=pixel_scale)
        if column == 0:
            axes[row, 0].set_ylabel("real", fontsize=9, color=INK)
            axes[row + 1, 0].set_ylabel("generated", fontsize=9, color=INK)
    pictures.add(
        figure,
        "samples.png",
        "Generated images below real ones",
        "Test images, and below each what the network makes when it is asked for the same class and numbers (the first ones, not "
        f"chosen); asinh stretch, each with its own colour bar{f' in {unit}' if unit else ''}.",
        f"{n} real lens images, and as many generated ones below them",
    )


def save_neighbours(pictures: FigureSet, made: np.ndarray, training: np.ndarray, distances: np.ndarray, held: np.ndarray) -> None:
    """Draw generated images above the training images nearest to them.

    Args:
        pictures: where they go.
        made: `(n, H, W)`.
        training: `(n, H, W)`, the nearest of each, turned as it is in the training set.
        distances: `(n,)` root-mean-square differences, in units of the sky's noise.
        held: `(m,)` the same of real images that were not trained on.
    """
    shown = np.argsort(distances, kind="stable")[:COLUMNS]
    figure = new_figure(1.72 * COLUMNS, 5.6)
    grid = figure.add_gridspec(3, COLUMNS, height_ratios=(1, 1, 0.8))
    for column, i in enumerate(shown):
        for row, (image, title) in enumerate(((made[i], f"rms {distances[i]:.3g} $\\sigma$"), (training[i], ""))):
            ax = figure.add_subplot(grid[row, column])
            show_image(ax, image, title=title, bar=False)
            if column == 0:
                ax.set_ylabel(("generated", "nearest trained on")[row], fontsize=8.5, color=INK)
    ax = figure.add_subplot(grid[2, :])
    bins = np.histogram_bin_edges(np.concatenate([distances, held]), 40).tolist()
    for values, colour, label in ((held, REAL, "real, not trained on"), (distances, MADE, "generated")):
        ax.hist(values, bins, density=True, histtype="step", color=colour, label=label, linewidth=1.4)
    dress(ax, "Distance to the nearest training image", "root-mean-square difference in units of the noise")
    ax.set_yticks([])
    ax.legend(fontsize=7.5, frameon=False)
    pictures.add(
        figure,
        "neighbours.png",
        "Nearest neighbours in the training set",
        f"The {len(shown)} generated images closest to a training image, of {len(distances)}, and that image (in any of the "
        "eight orientations), by pixels whose noise has been made even. Copies would be far to the "
        "left of where real images lie that the network has never seen.",
        "Generated images, their nearest training images, and a histogram of the distances",
    )


def save_statistics(
    pictures: FigureSet, metrics: dict[str, Any], made: np.ndarray, real: np.ndarray, physics: dict[str, np.ndarray], unit: str = ""
) -> None:
    """Draw power spectra, pixel values and, where lenses were fitted, chi^2 and theta_E.

    Args:
        pictures: where they go.
        metrics: with `spectrum`.
        made: `(n, H, W)`.
        real: `(n, H, W)`.
        physics: `chi2_made`, `chi2_real`, `asked`, `fitted`, `true`, `fitted_real`, `(n,)` each; empty where nothing was fitted.
        unit: of the pixel values.
    """
    figure = new_figure(9.6, 6.0 if physics else 3.1)
    axes = figure.subplots(2 if physics else 1, 2, squeeze=False)
    _spectrum(axes[0, 0], metrics)
    _pixels(axes[0, 1], made, real, unit)
    if physics:
        _chi2(axes[1, 0], physics)
        _theta(axes[1, 1], physics)
    pictures.add(
        figure,
        "statistics.png",
        "Statistics of generated and of real images",
        "Power spectra as a ratio, with the 95% interval, beside the ratio of two real sets; pixel values; "
        + (
            "reduced chi^2 of the smooth lens that fits an image best (substructure raises it), and theta_E of that lens against "
            "the one that was asked for."
            if physics
            else "no smooth lens was fitted to these images."
        ),
        f"Power spectrum ratio {format_interval(metrics['spectrum_deviation'])} in dex, pixel histogram and fits",
    )


def _spectrum(ax: Axes, metrics: dict[str, Any]) -> None:
    found = metrics["spectrum"]
    ax.fill_between(found["k"], found["low"], found["high"], color=MADE, alpha=0.25, linewidth=0)
    ax.plot(found["k"], found["ratio"], color=MADE, linewidth=1.4, label="generated / real")
    ax.plot(found["k"], found["ratio_floor"], color=REAL, linewidth=1.1, label="real / real")
    ax.axhline(1, color=FAINT, linewidth=1, linestyle=":")
    ax.set_xscale("log")
    _plain_ticks(ax, found["k"][-1])
    dress(ax, "Power spectrum", "cycles a frame", "ratio")
    ax.legend(fontsize=7.5, frameon=False)


def _plain_ticks(ax: Axes, high: float, low: float = 1.0) -> None:
    """Put plain numbers on a logarithmic x axis."""
    steps = [f * 10.0**e for e in range(-1, 4) for f in (1, 2, 5)]
    ax.set_xticks([t for t in steps if low <= t <= high])
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _pixels(ax: Axes, made: np.ndarray, real: np.ndarray, unit: str) -> None:
    low, high = np.quantile(real, [0.0005, 0.9995])
    bins = np.linspace(low, high, 90).tolist()
    for values, colour, label in ((real, REAL, "real"), (made, MADE, "generated")):
        ax.hist(values.ravel(), bins, density=True, histtype="step", color=colour, label=label, linewidth=1.3)
    ax.set_yscale("log")
    dress(ax, "Pixel values", unit)
    ax.legend(fontsize=7.5, frameon=False)


def _chi2(ax: Axes, physics: dict[str, np.ndarray]) -> None:
    both = np.concatenate([physics["chi2_made"], physics["chi2_real"]])
    bins = np.geomspace(max(both.min(), 0.1), np.quantile(both, 0.99) * 1.05, 50).tolist()
    for values, colour, label in ((physics["chi2_real"], REAL, "real"), (physics["chi2_made"], MADE, "generated")):
        ax.hist(values, bins, histtype="step", color=colour, label=label, linewidth=1.3)
    ax.set_xscale("log")
    _plain_ticks(ax, bins[-1], bins[0])
    dress(ax, "Fit of a smooth lens", "reduced chi$^2$", "images")
    ax.legend(fontsize=7.5, frameon=False)


def _theta(ax: Axes, physics: dict[str, np.ndarray]) -> None:
    if "asked" not in physics:
        ax.axis("off")
        return
    low, high = physics["true"].min(), physics["true"].max()
    ax.plot([low, high], [low, high], color=FAINT, linewidth=1, linestyle=":")
    for x, y, colour, label in (
        ("true", "fitted_real", REAL, "real, against the truth"),
        ("asked", "fitted", MADE, "generated, against what was asked"),
    ):
        ax.plot(physics[x], physics[y], ".", color=colour, markersize=3, label=label)
    margin = 0.25 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    dress(ax, "Einstein radius", "asked for, arcsec", "fitted, arcsec")
    ax.legend(fontsize=7.5, frameon=False)


def save_fits(pictures: FigureSet, images: np.ndarray, models: np.ndarray, residuals: np.ndarray, titles: Sequence[str]) -> None:
    """Draw generated images, the smooth lenses that fit them best, and what is left in units of the noise, `(n, H, W)` each."""
    n = min(PAIRS + 2, len(images))
    figure = new_figure(1.72 * n, 5.3)
    axes = figure.subplots(3, n, squeeze=False)
    for i in range(n):
        show_image(axes[0, i], images[i], title=titles[i], bar=False)
        show_image(axes[1, i], models[i], bar=False)
        drawn = axes[2, i].imshow(
            residuals[i], origin="lower", cmap="RdBu_r", vmin=-RESIDUAL, vmax=RESIDUAL, interpolation="nearest"
        )
        axes[2, i].set_xticks([])
        axes[2, i].set_yticks([])
        axes[2, i].spines[:].set_visible(False)
    for ax, name in zip(axes[:, 0], ("generated", "smooth lens", "left over"), strict=True):
        ax.set_ylabel(name, fontsize=9, color=INK)
    bar = figure.colorbar(drawn, ax=axes[2].tolist(), fraction=0.02, pad=0.01, extend="both")
    bar.ax.tick_params(labelsize=6, colors=INK)
    bar.outline.set_visible(False)
    pictures.add(
        figure,
        "fits.png",
        "Are the generated images lenses?",
        "Generated images, the smooth lens that fits each best, and the difference in units of the noise. Only noise is left where "
        "the image is one that a smooth lens could make; substructure leaves spots along the arc, mistakes leave whole arcs.",
        f"{n} generated images with fitted lenses and residuals",
    )


def save_losses(pictures: FigureSet, history: Sequence[dict[str, float]]) -> None:
    """Draw the training history."""
    figure = new_figure(9.6, 2.7)
    left, right = figure.subplots(1, 2)
    epochs, best = [row["epoch"] for row in history], min(history, key=lambda row: row["val_loss"])
    for key, colour, label in (("train_loss", REAL, "training"), ("val_loss", MADE, "validation")):
        left.plot(epochs, [row[key] for row in history], color=colour, marker="o", markersize=3, linewidth=1.4, label=label)
    right.plot(epochs, [row["lr"] for row in history], color=COLOURS[2], marker="o", markersize=3, linewidth=1.4)
    dress(left, "Loss", "epoch")
    dress(right, "Learning rate", "epoch")
    left.set_yscale("log")
    left.legend(fontsize=7.5, frameon=False)
    for ax in (left, right):
        ax.axvline(best["epoch"], color=FAINT, linewidth=1, linestyle=":", zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    pictures.add(
        figure,
        "history.png",
        "Training history",
        f"Mean squared error of what is predicted; the weights that are kept are those of epoch {best['epoch']:.0f} of "
        f"{len(history)} (dotted), which has the smallest on validation.",
        f"Loss and learning rate over {len(history)} epochs",
    )


def save_strip(
    path: Path, images: np.ndarray, titles: Sequence[str], *, columns: int = 8, pixel_scale: float | None = None
) -> None:
    """Draw images `(n, H, W)` in a row, or several, as a PNG; one stretch for all."""
    rows = -(-len(images) // columns)
    figure = new_figure(1.5 * min(columns, len(images)), 1.68 * rows)
    axes = figure.subplots(rows, min(columns, len(images)), squeeze=False).ravel()
    for ax in axes[len(images) :]:
        ax.axis("off")
    for ax, image, title in zip(axes, images, titles, strict=False):
        show_image(ax, image, title=title, bar=False, pixel_scale=pixel_scale, among=images)
    save_png(figure, Path(path))


def save_animation(
    path: Path, images: np.ndarray, titles: Sequence[str], *, rate: float = 8.0, pixel_scale: float | None = None
) -> None:
    """Write images `(n, H, W)` as an endless GIF, forth and back, `rate` of them a second; one stretch for all."""
    from PIL import Image

    frames = []
    for image, title in zip(images, titles, strict=True):
        figure = new_figure(2.6, 2.8)
        show_image(figure.subplots(), image, title=title, bar=False, pixel_scale=pixel_scale, among=images)
        assert isinstance(figure.canvas, FigureCanvasAgg)  # as `new_figure` makes it
        figure.canvas.draw()
        frames.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()))
    frames += frames[-2:0:-1]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / rate), loop=0)
    write_atomic(Path(path), buffer.getvalue())
