"""Pictures of a search for clumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from darklens.evaluate.figures import plot_history
from darklens.evaluate.style import COLOURS, FAINT, INK, SKY_MAP, FigureSet, dress, legend, new_figure, save_png
from darklens.evaluate.wording import format_interval

RESIDUAL_LIMIT = 5.0
LONGEST = 30
"""Letters of a title that have room above a picture."""
MARGIN = 6
"""Pixels about what is shown."""
BEYOND = "#b4b4bd"
"""Where no mass at all would be seen."""
SOLAR = r"log$_{10}$ M$_\odot$"
Panel = tuple[np.ndarray, str, float, float, str, str]
"""Pixels, colours, ends, title, unit."""


def save_search_figure(
    path: Path, image: np.ndarray, maps: Mapping[str, np.ndarray], summary: Mapping[str, Any], *, pixel_scale: float, title: str
) -> None:
    """Draw image, residual, significance and sensitivity of one image, with its candidates.

    Args:
        path: PNG file.
        image: `(H, W)`.
        maps: `(H, W)`: `residual`, with `significance` and `sensitivity` of a likelihood, or `heat` and `log10_mass` of a network;
            NaN where nothing was looked for.
        summary: with `candidates`, `threshold`.
        pixel_scale: arcsec.
        title: what the image is called.
    """
    figure = new_figure(12.4, 3.5)
    axes = figure.subplots(1, 4)
    height, width = image.shape
    half = 0.5 * width * pixel_scale, 0.5 * height * pixel_scale
    extent = (-half[0], half[0], -half[1], half[1])
    low, high = np.nanpercentile(image, 1), np.nanpercentile(image, 99.8)
    panels = (
        (image, SKY_MAP, low, high, title if len(title) < LONGEST else f"...{title[3 - LONGEST :]}", ""),
        (maps["residual"], "RdBu_r", -RESIDUAL_LIMIT, RESIDUAL_LIMIT, "image less smooth lens", "sigma"),
        *(_likelihood_panels if "significance" in maps else _network_panels)(maps, summary),
    )
    for ax, (pixels, colours, lowest, highest, name, unit) in zip(axes, panels, strict=True):
        shown = np.where(np.isposinf(pixels), np.finfo(np.float32).max, pixels)
        coloured = colormaps[colours].with_extremes(over=BEYOND) if np.isposinf(pixels).any() else colours
        drawn = ax.imshow(shown, origin="lower", extent=extent, cmap=coloured, vmin=lowest, vmax=highest, interpolation="nearest")
        ax.set_title(name, fontsize=9, color=INK, loc="left")
        ax.set_facecolor("#f4f4f6")
        ax.tick_params(labelsize=7, colors=INK)
        ax.spines[:].set_color(FAINT)
        if unit:
            bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.02)
            bar.ax.tick_params(labelsize=7, colors=INK)
            bar.set_label(unit, fontsize=8, color=INK)
            bar.outline.set_visible(False)
    for ax in axes[1:3]:
        mark_candidates(ax, summary["candidates"])
    axes[0].set_xlabel("arcsec", fontsize=8, color=INK)
    reach = _reach(maps, pixel_scale)
    for ax in axes:
        ax.set_xlim(*reach[0])
        ax.set_ylim(*reach[1])
    save_png(figure, Path(path))


def _reach(maps: Mapping[str, np.ndarray], pixel_scale: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends in x and y, arcsec, of the pixels about which any map says something, with a margin."""
    told = np.isfinite(maps["residual"]) | np.any([~np.isnan(maps[name]) for name in ("significance", "heat") if name in maps], 0)
    height, width = told.shape
    found = []
    for axis, side in ((0, width), (1, height)):
        there = np.flatnonzero(told.any(axis)) if told.any() else np.arange(side)
        ends = np.array([there[0] - MARGIN, there[-1] + 1 + MARGIN]).clip(0, side)
        found.append(tuple(((ends - 0.5 * side) * pixel_scale).tolist()))
    return found[0], found[1]


def _likelihood_panels(maps: Mapping[str, np.ndarray], summary: Mapping[str, Any]) -> tuple[Panel, ...]:
    sensitivity, threshold = maps["sensitivity"], summary["threshold"]
    reached = sensitivity[np.isfinite(sensitivity)]
    ends = (np.floor(2 * reached.min()) / 2, np.ceil(2 * np.percentile(reached, 95)) / 2) if len(reached) else (8.0, 10.0)
    top = max(threshold * 1.2, float(np.nanmax(maps["significance"])))
    title = f"gain of a clump; seen from {threshold:.2f}"
    return (
        (maps["significance"], "viridis", 0, top, title, r"$(2\Delta\ln L)^{1/2}$"),
        (sensitivity, "viridis_r", *ends, "smallest mass seen (grey: none)", SOLAR),
    )


def _network_panels(maps: Mapping[str, np.ndarray], summary: Mapping[str, Any]) -> tuple[Panel, ...]:
    return (
        (maps["heat"], "viridis", 0, 1, f"the network's map; seen from {summary['threshold']:.2f}", ""),
        (np.where(maps["heat"] > 0.1 * summary["threshold"], maps["log10_mass"], np.nan), "viridis", 8, 10, "mass there", SOLAR),
    )


def mark_candidates(ax: Axes, candidates: list[Mapping[str, Any]]) -> None:
    """Ring the candidates: those that are detected solid, with their mass; the others thin."""
    for candidate in candidates:
        detected = candidate["detected"]
        ax.plot(
            candidate["x"], candidate["y"], "o", markersize=13 if detected else 9, markerfacecolor="none",
            markeredgecolor=COLOURS[1] if detected else FAINT, markeredgewidth=1.8 if detected else 0.8,
        )  # fmt: skip
        if detected:
            ax.annotate(
                f"{candidate['log10_m']:.2f}", (candidate["x"], candidate["y"]), xytext=(8, 6), textcoords="offset points",
                fontsize=8, color=COLOURS[1], weight="bold",
            )  # fmt: skip


def save_localisation_figures(
    folder: Path,
    images: Any,
    heat: np.ndarray,
    found: Any,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    *,
    scale: float,
) -> None:
    """Draw what a network sees and says of some lenses, its completeness, and its training.

    Args:
        folder: where the pictures go.
        images: with `images` `(n, 5, h, w)` evidence maps, `clumps` `(n, K, 3)` and `ids`.
        heat: `(n, h, w)` the network's map, 0 to 1.
        found: detections, with `image`, `x`, `y`, `log10_m`.
        metrics: of `detection_metrics`, and `network`.
        history: rows of `history.csv`; none draws no history.
        scale: arcsec a pixel of the maps.
    """
    pictures = FigureSet(folder)
    _examples(pictures, images, heat, found, metrics, scale)
    figure = new_figure(9.6, 3.8)
    left, right = figure.subplots(1, 2)
    plot_completeness(left, {name.replace("_", " "): rows for name, rows in metrics["completeness"].items()})
    plot_distance(right, metrics["by_distance"])
    false = metrics["false_positives"]
    pictures.add(
        figure,
        "completeness.png",
        "Completeness",
        f"Fraction of clumps that are found within {metrics['tolerance']:g} arcsec, with 95% intervals, against mass, and against "
        "the distance to a bright arc for those of 10^9 M_sun or more, at "
        f"{format_interval(false)} false positives an image without clump. "
        "The dotted line is the mass of the published figure (Ostdiek et al. 2022, at 3 in 100 images).",
        "Completeness against mass and against distance to the arcs",
    )
    if history:
        best = min(history, key=lambda row: row["val_loss"])
        figure = new_figure(9.6, 2.9)
        plot_history(figure.subplots(1, 3), history, "val_map", "Cross-entropy of the map on validation")
        pictures.add(
            figure,
            "history.png",
            "Training history",
            f"The weights that are kept are those of epoch {best['epoch']:.0f} of {len(history)} (dotted).",
            f"Losses and learning rate over {len(history)} epochs",
        )


def _examples(pictures: FigureSet, images: Any, heat: np.ndarray, found: Any, metrics: Mapping[str, Any], scale: float) -> None:
    mass = np.nan_to_num(images.clumps[..., 2], nan=0).max(1)
    order = np.argsort(-mass)
    some = order[(mass[order] > 0)]
    chosen = [*some[np.linspace(0, len(some) - 1, min(3, len(some))).round().astype(int)], *order[mass[order] == 0][:1]]
    figure = new_figure(9.4, 2.35 * len(chosen) + 0.4)
    axes = figure.subplots(len(chosen), 4, squeeze=False)
    half = 0.5 * heat.shape[-1] * scale, 0.5 * heat.shape[-2] * scale
    extent = (-half[0], half[0], -half[1], half[1])
    names = ("smooth model", "residual, in sigma", "matched filter, in sigma", "the network's map")
    for k, (row, i) in enumerate(zip(axes, chosen, strict=True)):
        maps = images.images[i]
        panels = (
            (maps[4], SKY_MAP, 0, 1),
            (maps[0], "RdBu_r", -RESIDUAL_LIMIT, RESIDUAL_LIMIT),
            (maps[1], "RdBu_r", -6, 6),
            (heat[i], "viridis", 0, 1),
        )
        for ax, name, (pixels, colours, low, high) in zip(row, names, panels, strict=True):
            ax.imshow(pixels, origin="lower", extent=extent, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(name if k == 0 else "", fontsize=8, color=INK, loc="left")
        clumps = images.clumps[i][np.isfinite(images.clumps[i][:, 2])]
        row[0].set_ylabel(f"10^{mass[i]:.2f} M_sun" if mass[i] else "no clump", fontsize=8, color=INK)
        for ax in row[1:]:
            ax.plot(clumps[:, 0], clumps[:, 1], "+", color=COLOURS[4], markersize=9, markeredgewidth=1.2)
        for x, y in zip(found.x[found.image == i], found.y[found.image == i], strict=True):
            row[3].plot(x, y, "o", markersize=13, markerfacecolor="none", markeredgecolor=COLOURS[1], markeredgewidth=1.6)
    pictures.add(
        figure,
        "examples.png",
        "Where the clumps are",
        "The heaviest, a middle and the lightest clump of the test set, and a lens without: what the network sees, and its map. "
        "Crosses are true places, circles are detections.",
        f"Evidence maps and the map of {metrics['network']} for {len(chosen)} test lenses",
    )


def plot_completeness(ax: Axes, curves: Mapping[str, Sequence[Mapping[str, Any]]], published: float | None = 8.5) -> None:
    """Draw the fraction found against log10 of the mass, one curve a name."""
    for (name, rows), colour in zip(curves.items(), COLOURS, strict=False):
        if rows:
            _curve(ax, rows, colour, name)
    if published:
        ax.axvline(published, color=FAINT, linewidth=1, linestyle=":")
    dress(ax, "Clumps that are found", r"log$_{10}$ M$_\odot$", "fraction")
    ax.set_ylim(-0.03, 1.03)
    if any(curves.values()):
        legend(ax, "")


def plot_distance(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the fraction found against the distance to a bright arc."""
    if rows:
        _curve(ax, rows, COLOURS[0], "")
    dress(ax, r"Of those of 10$^9$ M$_\odot$ or more", "arcsec from a bright arc", "")
    ax.set_ylim(-0.03, 1.03)


def _curve(ax: Axes, rows: Sequence[Mapping[str, Any]], colour: str, name: str) -> None:
    middle, value = [0.5 * (r["from"] + r["to"]) for r in rows], np.array([r["value"] for r in rows])
    errors = np.abs(np.array([[r["low"] for r in rows], [r["high"] for r in rows]]) - value)
    ax.errorbar(middle, value, errors, color=colour, marker="o", markersize=4, linewidth=1.4, capsize=2, label=name or None)
