"""Pictures of what was learned without labels: a map of vectors, nearest neighbours, what is guessed under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darklens.evaluate.figures import show_image
from darklens.evaluate.style import COLOURS, FAINT, INK, dress, new_figure, save_png

COLUMNS = 4
HIDDEN = "#9aa0ac"
"""What stands for a hidden patch."""


def map_figure(places: np.ndarray, labels: Sequence[str | None], title: str) -> Figure:
    """Draw places `(n, 2)` of images, coloured by their labels where they have any."""
    figure = new_figure(6.4, 5.4)
    ax = figure.subplots()
    names = list(dict.fromkeys(name for name in labels if name is not None))
    every = np.array([name if name is not None else "" for name in labels], dtype=object)
    size = float(np.clip(6000 / max(len(places), 1), 3, 30))
    for k, name in enumerate([*(["no label"] if (every == "").any() else []), *sorted(names)]):
        inside = every == ("" if name == "no label" else name)
        colour = FAINT if name == "no label" else COLOURS[(k - ("" in every)) % len(COLOURS)]
        x, y = places[inside].T
        ax.scatter(x, y, s=size, color=colour, alpha=0.7, linewidths=0, label=f"{name} ({inside.sum():,})")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def neighbours_figure(
    query: np.ndarray,
    name: str,
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    unit: str = "",
    pixel_scale: float | None = None,
) -> Figure:
    """Draw an image `(H, W)` and those most like it, nearest first, each with its own stretch."""
    rows = -(-(len(images) + 1) // COLUMNS)
    figure = new_figure(2.45 * COLUMNS, 2.45 * rows)
    axes = np.ravel(figure.subplots(rows, COLUMNS, squeeze=False))
    for i, ax in enumerate(axes):
        if i > len(images):
            ax.axis("off")
            continue
        image, title = (query, name) if i == 0 else (images[i - 1], titles[i - 1])
        show_image(ax, image, title=title, unit=unit, pixel_scale=pixel_scale)
    axes[0].spines[:].set_visible(True)
    axes[0].spines[:].set_edgecolor(COLOURS[1])
    axes[0].spines[:].set_linewidth(2.5)
    return figure


def reconstructions_figure(
    inputs: np.ndarray, predicted: np.ndarray, hidden: np.ndarray, names: Sequence[str], bands: Sequence[str]
) -> Figure:
    """Draw what a masked autoencoder saw, what it makes of the rest, and what is there: a row an image and band.

    Args:
        inputs: `(n, C, H, W)`, as the network is given them, whole.
        predicted: `(n, C, H, W)`; what was seen is copied from the inputs.
        hidden: `(n, H, W)`, true where a pixel was hidden.
        names: of the n images.
        bands: what the C bands are; "residual" is drawn around zero.
    """
    n, count = inputs.shape[:2]
    figure = new_figure(9.8, 2.05 * n * count)
    axes = figure.subplots(n * count, 4, squeeze=False)
    for i, k in np.ndindex(n, count):
        row, whole = axes[i * count + k], inputs[i, k]
        guess = np.where(hidden[i], predicted[i, k], whole)
        seen = np.where(hidden[i], np.nan, whole)
        limits = _limits(whole, residual=bands[k] == "residual")
        parts = (seen, guess, whole, np.where(hidden[i], whole - guess, np.nan))
        titles = ("what is seen", "what is guessed", "what is there", "what was not guessed")
        for ax, part, title in zip(row, parts, titles, strict=True):
            last = title == titles[-1]
            _panel(ax, part, *(_limits(whole - guess, residual=True) if last else limits), title if not i + k else "")
        row[0].set_ylabel(f"{names[i]}\n{bands[k]}", fontsize=8, color=INK)
    return figure


def denoised_figure(residuals: np.ndarray, structure: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw residuals `(n, H, W)` in units of the noise, the structure found in them, and the rest: a row an image."""
    figure = new_figure(7.4, 2.3 * len(residuals))
    axes = figure.subplots(len(residuals), 3, squeeze=False)
    titles = ("residual of the smooth fit", "structure found", "the rest")
    for i, (row, residual, found) in enumerate(zip(axes, residuals, structure, strict=True)):
        limits = _limits(residual, residual=True)
        for ax, part, title in zip(row, (residual, found, residual - found), titles, strict=True):
            _panel(ax, part, *limits, "" if i else title)
        row[0].set_ylabel(names[i], fontsize=8, color=INK)
    return figure


def history_figure(history: Sequence[dict[str, float]]) -> Figure:
    """Draw the losses, what else was judged on validation images, and the learning rate, against the epoch."""
    epochs, best = [row["epoch"] for row in history], min(history, key=lambda row: row["val_loss"])
    others = [key for key in history[0] if key.startswith("val_") and key != "val_loss"]
    panels = [
        ("Loss", ["train_loss", "val_loss"]),
        *((f"{key[4:]} on validation", [key]) for key in others),
        ("Learning rate", ["lr"]),
    ]
    figure = new_figure(3.2 * len(panels), 2.9)
    for ax, (title, keys) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for k, key in enumerate(keys):
            label = {"train_loss": "training", "val_loss": "validation"}.get(key)
            colour = COLOURS[k if key != "lr" else 2]
            ax.plot(epochs, [row[key] for row in history], color=colour, marker="o", markersize=3, linewidth=1.4, label=label)
        dress(ax, title, "epoch")
        ax.axvline(best["epoch"], color=FAINT, linewidth=1, linestyle=":", zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(keys) > 1:
            ax.legend(fontsize=7.5, frameon=False)
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    save_png(figure, Path(path))


def _limits(image: np.ndarray, *, residual: bool) -> tuple[str, float, float]:
    """Return colour map and range of a panel."""
    if residual:
        limit = max(float(np.percentile(np.abs(image), 99.5)), 1e-6)
        return "RdBu_r", -limit, limit
    return "magma", float(image.min()), float(np.percentile(image, 99.8))


def _panel(ax: Axes, image: np.ndarray, colours: str, low: float, high: float, title: str) -> None:
    drawn = ax.imshow(image, origin="lower", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    ax.set_facecolor(HIDDEN)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=9, color=INK, loc="left")
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.025)
    bar.ax.tick_params(labelsize=6, colors=INK, length=2, pad=1.5)
    bar.outline.set_visible(False)
