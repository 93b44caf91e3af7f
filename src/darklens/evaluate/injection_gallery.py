"""A gallery of injections: each galaxy as it was, with arcs painted on it, and the arcs alone, in one stretch a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from darklens.evaluate.style import FAINT, INK, new_figure, save_png

ACROSS = 2
"""Systems side by side."""
PANELS = ("original", "injected", "arcs")


@dataclass(frozen=True, eq=False)
class Injected:
    """One galaxy, ready to be drawn.

    Args:
        original: `(bands, y, x)`, from blue to red.
        image: the same with arcs.
        arcs: the arcs alone, without noise.
        caption: a line above.
    """

    original: np.ndarray
    image: np.ndarray
    arcs: np.ndarray
    caption: str


def save_injection_gallery(path: Path, systems: Sequence[Injected], title: str) -> None:
    """Draw three panels a galaxy: original, injected, arcs.

    Args:
        path: PNG file.
        systems: what to draw.
        title: above all.
    """
    rows = -(-len(systems) // ACROSS)
    figure = new_figure(1.62 * 3 * ACROSS, 1.82 * rows + 0.4)
    figure.suptitle(title, fontsize=10, color=INK, x=0.012, ha="left")
    axes = figure.subplots(rows, 3 * ACROSS, squeeze=False)
    balance = _balance(systems)
    for ax in axes.flat:
        ax.set_axis_off()
    for k, system in enumerate(systems):
        row, first = k // ACROSS, 3 * (k % ACROSS)
        _row(list(axes[row, first : first + 3]), system, balance, named=row == 0)
    save_png(figure, Path(path))


def _row(axes: Sequence[Axes], system: Injected, balance: np.ndarray, named: bool) -> None:
    shown = [_chosen(image) * balance for image in (system.original, system.image, system.arcs)]
    sky = np.median(shown[0], axis=(1, 2), keepdims=True)
    noise = 1.4826 * float(np.median(np.abs(shown[0] - sky)))
    bright = max(float(np.percentile(shown[1] - sky, 99.5)), 10 * noise, 1e-30)
    for ax, image, name, level in zip(axes, shown, PANELS, (sky - noise, sky - noise, np.zeros_like(sky)), strict=True):
        ax.imshow(_stretched(image - level, bright, 4 * noise), origin="lower", interpolation="nearest")
        if named:
            ax.text(0.03, 0.03, name, transform=ax.transAxes, fontsize=7, color="white")
    axes[0].set_title(system.caption, fontsize=7, color=INK if system.caption else FAINT, loc="left")


def _chosen(image: np.ndarray) -> np.ndarray:
    """Return red, green and blue `(3, y, x)`; fewer than three bands are grey."""
    return image[[-1, len(image) // 2, 0]] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)


def _balance(systems: Sequence[Injected]) -> np.ndarray:
    """Return one factor a colour, with which the middle of the typical galaxy is a warm white."""
    bright = [np.percentile(_chosen(s.original), 99.5, axis=(1, 2)) for s in systems]
    typical = np.maximum(np.median(bright, axis=0), 1e-30)
    return ((typical[1] / typical) ** 0.75)[:, None, None]


def _stretched(light: np.ndarray, bright: float, softening: float) -> np.ndarray:
    """Return a picture `(y, x, 3)` in 0 to 1: asinh of the mean, the same factor for all colours (Lupton et al. 2004)."""
    mean = np.maximum(light.mean(0), 1e-12)
    curve = np.arcsinh(mean / softening) / np.arcsinh(bright / softening)
    colour = np.clip(light, 0, None) * (curve / mean)
    colour /= np.maximum(colour.max(0), 1)
    return np.moveaxis(np.clip(colour, 0, 1), 0, -1)
