"""Pictures of what a network believes of lenses: Einstein radii beside the true ones, sources, and re-lensed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from darklens.evaluate.style import COLOURS, INK, SKY_MAP, FigureSet, dress, new_figure


def save_physics_figures(
    folder: Path,
    theta_E: np.ndarray,
    true: np.ndarray | None,
    labels: np.ndarray,
    classes: Sequence[str],
    images: np.ndarray,
    pictures: Sequence[Mapping[str, np.ndarray]],
    sources: Sequence[np.ndarray | None],
    names: Sequence[str],
) -> None:
    """Draw the network's Einstein radii, and its sources and re-lensed images of a few lenses, into a folder.

    Args:
        folder: where the pictures go.
        theta_E: `(n,)` arcsec, the network's.
        true: `(n,)`; None where it is not known.
        labels: `(n,)` class indices.
        classes: names.
        images: `(m, H, W)` a few images as the network sees them.
        pictures: m mappings with `source` and, where the network re-lenses, `relensed` and `residual`.
        sources: the true sources on the same grid, None where unknown.
        names: m class names.
    """
    shown = FigureSet(folder)
    _radii(shown, theta_E, true, labels, classes)
    panels = ["image", "source", *(["true source"] if sources[0] is not None else [])]
    panels += [name for name in ("relensed", "residual") if name in pictures[0]]
    figure = new_figure(9.6, 0.4 + 9.6 / len(panels) * 0.95 * len(images))
    axes = figure.subplots(len(images), len(panels), squeeze=False)
    for i, row in enumerate(axes):
        content = {"image": images[i], "true source": sources[i], **{k: np.squeeze(v) for k, v in pictures[i].items()}}
        for ax, name in zip(row, panels, strict=True):
            _panel(ax, content[name], name, f"{names[i]}: {name}" if name == "image" else name)
    shown.add(
        figure,
        "physics.png",
        "What the network's lens makes of images",
        "The image, the source that the network's lens traces it back to"
        + (", the true source" if "true source" in panels else "")
        + (", the image that lens and source predict, and what is left" if "relensed" in panels else "")
        + "; each on a scale of its own.",
        f"Image, source and re-lensed image of lenses of the classes {', '.join(names)}",
    )


def _panel(ax: Axes, picture: np.ndarray, name: str, title: str) -> None:
    if name == "residual":
        limit = max(float(np.quantile(np.abs(picture), 0.995)), 1e-9)
        ax.imshow(picture, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
    else:
        ax.imshow(picture, origin="lower", cmap=SKY_MAP)
    ax.set_axis_off()
    ax.set_title(title, fontsize=9, color=INK)


def _radii(shown: FigureSet, theta_E: np.ndarray, true: np.ndarray | None, labels: np.ndarray, classes: Sequence[str]) -> None:
    every = theta_E if true is None else np.concatenate([theta_E, true])
    spread = max(float(np.ptp(every)), 1e-3)
    bins = np.linspace(every.min() - 0.02 * spread, every.max() + 0.02 * spread, 41)
    figure = new_figure(9.6, 2.9)
    for k, (ax, name) in enumerate(zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True)):
        own = labels == k
        if true is not None:
            ax.hist(true[own], bins=bins, color=COLOURS[6], alpha=0.4, label="true")
        ax.hist(theta_E[own], bins=bins, histtype="step", color=COLOURS[k % len(COLOURS)], lw=1.5, label="network")
        ax.legend(fontsize=7, frameon=False)
        dress(ax, name, "theta_E [arcsec]", "images" if k == 0 else "")
    error = "" if true is None else f" Mean relative error {100 * np.abs(theta_E / true - 1).mean():.2g}%."
    shown.add(
        figure,
        "theta-E.png",
        "Einstein radii, class by class",
        f"What the network believes{' beside the truth' if true is not None else ''}.{error}",
        f"Histograms of the Einstein radius of {', '.join(classes)}",
    )
