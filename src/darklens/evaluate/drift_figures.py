"""Pictures of a drift report: images of both sides, what has changed by how much, and how they were told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from darklens.evaluate.composite import bands_for_colour, colour, grey, white_balance
from darklens.evaluate.drift import Drift, Sample
from darklens.evaluate.image_statistics import STATISTICS
from darklens.evaluate.style import COLOURS, FAINT, INK, FigureSet, dress, new_figure

EXAMPLES = 8
"""Images of each side that are shown."""
HISTOGRAMS = 6
"""Statistics whose distributions are drawn, those that differ most."""
SIDES = (COLOURS[0], COLOURS[1])


def save_drift_figures(folder: Path, drift: Drift, a: Sample, b: Sample, bands: Sequence[str]) -> None:
    """Write examples.png, changes.png, distributions.png and classifier.png with their captions.

    Args:
        folder: where they go.
        drift: what was found.
        a: what is known.
        b: what was judged.
        bands: names of the bands.
    """
    pictures = FigureSet(folder)
    _examples(pictures, a, b)
    _changes(pictures, drift, bands)
    _distributions(pictures, drift, a, b, bands)
    _classifier(pictures, drift)


def _examples(pictures: FigureSet, a: Sample, b: Sample) -> None:
    figure = new_figure(11.0, 3.3)
    rgb = bands_for_colour(None, None, a.images[0].shape[0])
    shown = [sample.images[:EXAMPLES] for sample in (a, b)]
    balance = None if rgb is None else white_balance([image[list(rgb)] for image in shown[0]])
    for row, (axes, images, sample) in enumerate(zip(figure.subplots(2, EXAMPLES), shown, (a, b), strict=True)):
        for k, ax in enumerate(axes):
            ax.axis("off")
            if k < len(images):
                view = grey(images[k][0]) if rgb is None else colour(images[k][list(rgb)], balance)
                ax.imshow(view, origin="lower", interpolation="nearest")
        axes[0].set_title(("A: ", "B: ")[row] + sample.name, fontsize=9, color=SIDES[row], loc="left")
    how = "an asinh stretch of each" if rgb is None else "colour composites, with the white balance of A"
    pictures.add(
        figure, "examples.png", "Images of both", f"The first {EXAMPLES} of each, {how}.", f"Images of {a.name} and {b.name}"
    )


def _changes(pictures: FigureSet, drift: Drift, bands: Sequence[str]) -> None:
    names = [name for name in STATISTICS if any(row["statistic"] == name for row in drift.rows)]
    figure = new_figure(9.6, 1.2 + 0.34 * len(names))
    ax = figure.subplots()
    for i, band in enumerate(bands):
        rows = {row["statistic"]: row for row in drift.rows if row["band"] == band}
        y = np.arange(len(names)) + 0.5 * ((i + 0.5) / len(bands) - 0.5)
        x = np.array([_squeezed(rows[name]["in_se"]) for name in names])
        sure = np.array([rows[name]["p_holm"] < drift.rate / 2 for name in names])
        colour_of = COLOURS[i % len(COLOURS)]
        ax.hlines(y, 0, x, color=colour_of, linewidth=1, alpha=0.5)
        ax.plot(x[sure], y[sure], "o", color=colour_of, markersize=6, label=band if len(bands) > 1 else None)
        ax.plot(x[~sure], y[~sure], "o", color=colour_of, markersize=6, markerfacecolor="white")
    dress(ax, "B minus A, in standard errors of the difference")
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.axvspan(-3, 3, color="#eef0f4", zorder=0)
    ax.set_xscale("symlog", linthresh=3)
    ends = [-1000, -100, -10, -3, 0, 3, 10, 100, 1000]
    ax.set_xticks(ends, [f"{end:+d}" if end else "0" for end in ends])
    ax.xaxis.set_minor_locator(NullLocator())
    reach = max(5.0, *(1.3 * abs(_squeezed(row["in_se"])) for row in drift.rows))
    ax.set_xlim(-reach, reach)
    ax.set_yticks(range(len(names)), [f"{name}: {STATISTICS[name]}" for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    if len(bands) > 1:
        handles = [ax.plot([], [], "o", color=COLOURS[i % len(COLOURS)])[0] for i in range(len(bands))]
        ax.legend(handles, bands, fontsize=8, frameon=False, loc="best")
    pictures.add(
        figure,
        "changes.png",
        "What has changed",
        "Differences of the means of each statistic. Filled: the distributions differ (Kolmogorov-Smirnov, corrected for the "
        f"number of tests, at a rate of {drift.rate / 2:g}). Grey: three standard errors; beyond, the axis is logarithmic.",
        "Differences of the statistics in standard errors",
    )


def _squeezed(value: float, most: float = 1e4) -> float:
    return float(np.clip(np.nan_to_num(value, posinf=most, neginf=-most), -most, most))


def _distributions(pictures: FigureSet, drift: Drift, a: Sample, b: Sample, bands: Sequence[str]) -> None:
    values = a.statistics(), b.statistics()
    rows = sorted((row for row in drift.rows if row["band"] in bands), key=lambda row: (row["p"], -row["ks"]))
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        best.setdefault(row["statistic"], row)  # each statistic once, in the band where it differs most
    chosen = list(best.values())[:HISTOGRAMS]
    figure = new_figure(9.6, 4.6)
    for ax, row in zip(figure.subplots(2, HISTOGRAMS // 2).ravel(), chosen, strict=True):
        both = [v[row["statistic"]][:, list(bands).index(row["band"])] for v in values]
        _histogram(ax, [v[np.isfinite(v)] for v in both])
        where = f" in {row['band']}" if len(bands) > 1 else ""
        dress(ax, f"{row['statistic']}{where}: KS {row['ks']:.2f}")
        ax.set_yticks([])
        ax.xaxis.set_major_locator(MaxNLocator(4))
    pictures.add(
        figure,
        "distributions.png",
        "The statistics that differ most",
        "Blue: A; orange: B. KS is the largest distance between the two distribution functions, 0 to 1; each statistic in the band "
        "where it differs most; the outermost percent is left out.",
        "Histograms of the statistics that differ most",
    )


def _histogram(ax: Axes, both: list[np.ndarray]) -> None:
    together = np.concatenate(both)
    if not len(together):
        return
    low, high = np.percentile(together, [0.5, 99.5])
    high = high if high > low else low + 1.0
    bins = np.linspace(low, high, 31).tolist()
    for values, colour_of in zip(both, SIDES, strict=True):
        ax.hist(values, bins=bins, density=True, histtype="stepfilled", color=colour_of, alpha=0.25)
        ax.hist(values, bins=bins, density=True, histtype="step", color=colour_of, linewidth=1.3)


def _classifier(pictures: FigureSet, drift: Drift) -> None:
    figure = new_figure(9.6, 2.2)
    ax = figure.subplots()
    auc, null = drift.classifier["auc"], drift.classifier["null"]
    ax.hist(null, bins=np.linspace(0.3, 1, 141).tolist(), color=FAINT, alpha=0.6)
    ax.axvspan(auc["low"], auc["high"], color=SIDES[1], alpha=0.2)
    ax.axvline(auc["value"], color=SIDES[1], linewidth=1.8)
    dress(ax, f"AUC of a classifier that tells A from B: {auc['value']:.3f} (p = {drift.classifier['p']:.2g})", "AUC")
    ax.set_xlim(min(0.4, auc["low"]), 1.005)
    ax.set_yticks([])
    pictures.add(
        figure,
        "classifier.png",
        "How well a classifier tells them apart",
        f"Line and band: the cross-validated AUC and its 95% interval. Grey: that of {len(null)} shuffled memberships.",
        f"AUC {auc['value']:.3f} beside the AUC of shuffled memberships",
    )
