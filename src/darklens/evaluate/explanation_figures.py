"""Pictures of an explanation: where each method says that a network looked, what that is worth, and what the network sees first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from darklens.evaluate.figures import show_image
from darklens.evaluate.style import COLOURS, FAINT, INK, FigureSet, dress, legend, new_figure

ROWS = 8
"""Images that are drawn."""


def save_maps(
    folder: Path, images: np.ndarray, titles: Sequence[str], layers: Mapping[str, np.ndarray], signed: Sequence[str]
) -> None:
    """Draw attributions.png: a row an image, a column a layer.

    Args:
        folder: where it goes.
        images: `(n, H, W)`, one band.
        titles: n, what is said of them.
        layers: name -> `(n, h, w)`.
        signed: layers that lie around zero.
    """
    n = min(ROWS, len(images))
    figure = new_figure(1.5 * (1 + len(layers)), 1.62 * n + 0.3)
    for i, row in enumerate(figure.subplots(n, 1 + len(layers), squeeze=False)[:n]):
        show_image(row[0], images[i], title=titles[i], bar=False)
        for ax, (name, maps) in zip(row[1:], layers.items(), strict=True):
            _layer(ax, maps[i], name if i == 0 else "", name in signed)
    FigureSet(folder).add(
        figure,
        "attributions.png",
        "Where the network looked",
        f"{n} images and, beside each, what is known of it and what each method says; every map on its own scale, bright for "
        "what mattered most; what lies around zero is red above and blue below.",
        f"Maps of {', '.join(layers)} for {n} images",
    )


def save_curves(folder: Path, curves: Mapping[str, Mapping[str, np.ndarray]], n: int) -> None:
    """Draw curves.png: the mean probability of the explained class while pixels are deleted, and while they are inserted."""
    figure = new_figure(9.6, 4.0 + 0.1 * len(curves))
    for ax, kind in zip(figure.subplots(1, 2), ("deletion", "insertion"), strict=True):
        for k, (name, curve) in enumerate(curves.items()):
            reference = name in ("random", "brightness")
            colour, line = (INK if name == "brightness" else FAINT, ":") if reference else (COLOURS[k % len(COLOURS)], "-")
            ax.plot(curve["fractions"], curve[kind], color=colour, linestyle=line, linewidth=1.5, label=name)
        dress(ax, kind.capitalize(), "fraction of the pixels", "probability of the explained class")
        ax.set_xscale("function", functions=(np.sqrt, np.square))
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.02, 1.02)
    legend(figure.axes[0], "in the order of")
    FigureSet(folder).add(
        figure,
        "curves.png",
        "Deletion and insertion",
        f"Means over {n} images. Left: the most important pixels are replaced by the baseline first; a good map falls early. "
        "Right: they are put back first; a good map rises early. Dotted: what needs no network. "
        "The axis is stretched where few have gone.",
        f"Deletion and insertion curves of {', '.join(curves)}",
    )


def save_planes(folder: Path, places: Mapping[str, np.ndarray], labels: Sequence[str | None]) -> None:
    """Draw planes.png: the features of images on a plane, `(m, 2)` a projection, coloured by their labels."""
    figure = new_figure(3.3 * len(places) + 1.2, 3.4)
    every = np.array([name if name is not None else "no label" for name in labels], dtype=object)
    names = list(dict.fromkeys(every))
    axes = figure.subplots(1, len(places), squeeze=False)[0]
    for ax, (title, where) in zip(axes, places.items(), strict=True):
        for k, name in enumerate(names):
            inside = every == name
            ax.scatter(
                *where[inside].T, s=18, color=COLOURS[k % len(COLOURS)], alpha=0.75, linewidths=0, label=f"{name} ({inside.sum()})"
            )
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title({"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}.get(title, title), fontsize=10, color=INK, loc="left")
        ax.spines[:].set_edgecolor(FAINT)
    axes[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    FigureSet(folder).add(
        figure,
        "planes.png",
        "Features on a plane",
        f"What the last layer sees of {len(labels)} images, in two dimensions. Directions and distances of t-SNE and UMAP have no "
        "meaning beyond who is whose neighbour.",
        f"{len(labels)} images on planes of {', '.join(places)}, coloured by {', '.join(map(str, names))}",
    )


def _layer(ax: Axes, values: np.ndarray, title: str, signed: bool) -> None:
    limit: Any = float(np.abs(values).max()) or 1.0
    colours, low, high = ("RdBu_r", -limit, limit) if signed else ("viridis", float(values.min()), float(values.max()))
    ax.imshow(values, origin="lower", cmap=colours, vmin=low, vmax=high if high > low else low + 1.0, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8, color=INK)
