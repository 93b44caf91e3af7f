"""A gallery of simulated systems: what the camera sees, how the lens bends light, what substructure there is, what it does."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from darklens.evaluate.figures import show_image
from darklens.evaluate.style import COLOURS, INK, new_figure, save_png

CRITICAL, CAUSTIC = COLOURS[5], COLOURS[4]
KAPPA_MAP = "cividis"
DETAIL = 1e-3
"""A difference below this part of the largest in the picture is drawn as none."""

ROUNDING = 1e-9
"""A convergence below this is what rounding leaves of two deflections."""


@dataclass(frozen=True)
class System:
    """One simulated lens, ready to be drawn; lengths in arcsec, curves `(K, 2)` as x, y.

    Args:
        label: its class.
        image: `(H, W)`, or `(bands, H, W)` from blue to red in one unit, three bands or more.
        unit: of the image.
        pixel_scale: arcsec.
        critical: critical curves.
        caustics: caustics.
        source: centre of the source, in the source plane.
        kappa: `(H, W)` convergence of the substructure alone.
        difference: `(H, W)`, with substructure minus without.
        difference_unit: what it is divided by.
        note: a line below the label.
        picture: `(H, W, 3)` in 0 to 1, how an image of several bands is to be shown; None makes it from the bands.
    """

    label: str
    image: np.ndarray
    unit: str
    pixel_scale: float
    critical: Sequence[np.ndarray]
    caustics: Sequence[np.ndarray]
    source: tuple[float, float]
    kappa: np.ndarray
    difference: np.ndarray
    difference_unit: str
    note: str = ""
    picture: np.ndarray | None = None

    @property
    def disturbed(self) -> bool:
        """Whether there is substructure, or any difference that it makes."""
        return bool(np.percentile(self.kappa, 99.9) > ROUNDING or np.abs(self.difference).max() > 0)


def save_system_gallery(path: Path, systems: Sequence[System], title: str) -> None:
    """Draw a row a system into one picture; the columns on substructure are there where any system has some.

    Args:
        path: PNG file.
        systems: what to draw.
        title: above all.
    """
    columns = 4 if any(system.disturbed for system in systems) else 2
    figure = new_figure(2.8 * columns, 2.62 * len(systems) + 0.75)
    words = textwrap.fill(title, 38 * columns)
    figure.suptitle(words, fontsize=11 if columns == 4 else 9, color=INK, x=0.012, ha="left")
    axes = figure.subplots(len(systems), columns, squeeze=False)
    limits = {s.difference_unit: _limit([o for o in systems if o.difference_unit == s.difference_unit]) for s in systems}
    for i, (row, system) in enumerate(zip(axes, systems, strict=True)):
        _image(row[0], system)
        _curves(row[1], system, explained=i == 0)
        if columns == 4:
            _kappa(row[2], system)
            _difference(row[3], system, limits[system.difference_unit])
    _write(path, figure)


@dataclass(frozen=True)
class Pair:
    """One lens through two cameras; images `(H, W)` in one unit.

    Args:
        label: its class.
        low: what the blunt camera recorded.
        high: what the sharp one recorded.
        truth: the same without noise.
        scales: arcsec a pixel of low and high.
        unit: of all.
    """

    label: str
    low: np.ndarray
    high: np.ndarray
    truth: np.ndarray
    scales: tuple[float, float]
    unit: str


def save_pair_gallery(path: Path, pairs: Sequence[Pair], title: str) -> None:
    """Draw a row a pair into one picture: blunt, sharp, and sharp without noise.

    Args:
        path: PNG file.
        pairs: what to draw.
        title: above all.
    """
    figure = new_figure(8.4, 2.62 * len(pairs) + 0.75)
    figure.suptitle(textwrap.fill(title, 114), fontsize=10, color=INK, x=0.012, ha="left")
    for row, pair in zip(figure.subplots(len(pairs), 3, squeeze=False), pairs, strict=True):
        low, high = pair.scales
        for ax, image, scale, words in (
            (row[0], pair.low, low, f"{pair.label}: the blunt camera (LR)"),
            (row[1], pair.high, high, "the sharp one (HR)"),
            (row[2], pair.truth, high, "the same without noise (TRUTH)"),
        ):
            show_image(ax, image, unit=pair.unit, pixel_scale=scale)
            ax.set_title(words, fontsize=9, color=INK, loc="left")
    _write(path, figure)


def _write(path: Path, figure: Figure) -> None:
    save_png(figure, Path(path))


def _limit(systems: Sequence[System]) -> float:
    """One scale of differences for the whole picture, so that rows can be compared."""
    return max(float(np.percentile(np.abs(s.difference), 99.8)) for s in systems) or 1.0


def _image(ax: Axes, system: System) -> None:
    if system.image.ndim == 3:
        _colour_image(ax, system)
    else:
        show_image(ax, system.image, unit=system.unit, pixel_scale=system.pixel_scale)
    ax.set_title(f"{system.label}{system.note}", fontsize=9, color=INK, loc="left")


def _colour_image(ax: Axes, system: System) -> None:
    """Three bands as one colour image, with one asinh stretch of their mean (Lupton et al. 2004, PASP 116, 133)."""
    if system.picture is not None:
        show_image(ax, system.image.mean(0), pixel_scale=system.pixel_scale, bar=False)
        ax.imshow(system.picture, origin="lower", interpolation="nearest")
        return
    bands = system.image[[-1, len(system.image) // 2, 0]]  # red, green, blue
    bands = np.clip(bands / max(float(np.percentile(bands.mean(0), 99.8)), 1e-30), 0, None)
    mean = np.clip(bands.mean(0), 1e-6, None)
    colour = bands * np.arcsinh(8 * mean) / np.arcsinh(8.0) / mean
    colour /= np.maximum(colour.max(0), 1)  # too bright for the screen: darker, of the same colour
    show_image(ax, mean, pixel_scale=system.pixel_scale, bar=False)
    ax.imshow(np.moveaxis(colour, 0, -1), origin="lower", interpolation="nearest")


def _frame(ax: Axes, system: System, title: str) -> tuple[float, float, float, float]:
    height, width = (n * system.pixel_scale / 2 for n in system.kappa.shape)
    ax.set_xlim(-width, width)
    ax.set_ylim(-height, height)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=9, color=INK, loc="left")
    return -width, width, -height, height


def _curves(ax: Axes, system: System, *, explained: bool) -> None:
    shown = system.image.mean(0) if system.image.ndim == 3 else system.image
    low, high = np.percentile(shown, [1, 99.7])
    extent = _frame(ax, system, "critical curves, caustics")
    ax.imshow(shown, origin="lower", extent=extent, cmap="gray", vmin=low, vmax=high * 1.3, interpolation="nearest")
    for curves, colour in ((system.critical, CRITICAL), (system.caustics, CAUSTIC)):
        ax.add_collection(LineCollection(curves, colors=colour, linewidths=1.1))
    if len(system.critical):  # what is no lens bends no source
        ax.plot(*system.source, marker="+", color=COLOURS[1], markersize=8, markeredgewidth=1.6)
    if not explained:
        return
    edge = [withStroke(linewidth=2, foreground="#000000a0")]
    words = (("critical curves", CRITICAL), ("caustics", CAUSTIC), ("+ source", COLOURS[1]))
    for k, (text, colour) in enumerate(words):
        ax.text(0.03, 0.96 - 0.085 * k, text, transform=ax.transAxes, fontsize=7, color=colour, va="top", path_effects=edge)


def _kappa(ax: Axes, system: System) -> None:
    extent = _frame(ax, system, r"$\kappa$ of the substructure")
    high = float(np.percentile(system.kappa, 99.9))
    if high <= ROUNDING:
        return _nothing(ax)
    norm = PowerNorm(0.5, vmin=0, vmax=high)
    drawn = ax.imshow(system.kappa, origin="lower", extent=extent, cmap=KAPPA_MAP, norm=norm, interpolation="nearest")
    return _bar(ax, drawn, "max")


def _difference(ax: Axes, system: System, limit: float) -> None:
    extent = _frame(ax, system, f"what it changes, in {system.difference_unit}")
    if np.abs(system.difference).max() <= DETAIL * limit:
        return _nothing(ax)
    drawn = ax.imshow(
        system.difference, origin="lower", extent=extent, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    return _bar(ax, drawn, "both")


def _nothing(ax: Axes) -> None:
    ax.set_facecolor("#f3f4f7")
    ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", va="center", fontsize=9, style="italic", color="#8a91a0")


def _bar(ax: Axes, drawn: AxesImage, extend: str) -> None:
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.025, extend=extend)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=6, colors=INK, length=2, pad=1.5)
    bar.outline.set_visible(False)
