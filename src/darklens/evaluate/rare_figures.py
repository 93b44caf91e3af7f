"""Figures of a search for rare objects: what is found before the first false alarms, purity in a survey, and what is missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from darklens.evaluate.completeness import AGAINST
from darklens.evaluate.style import COLOURS, FAINT, INK, FigureSet, dress, new_figure
from darklens.evaluate.wording import format_interval

COLUMNS = 3
"""Axes beside one another."""


def save_rare_figures(folder: Path, metrics: dict[str, Any], found: dict[str, Any]) -> None:
    """Draw purity against completeness, and completeness against what the lenses are.

    Args:
        folder: where the pictures go; those of an earlier evaluation that do not apply any more are taken away.
        metrics: what `rare_metrics` returned.
        found: what `completeness` returned, with `threshold`, the probability from which on an image counts as found, and
            `rule`, how it was chosen; empty where no truth is known.
    """
    pictures = FigureSet(folder)
    _purity(pictures, metrics)
    if not found:
        return pictures.discard("completeness.png")
    return _completeness(pictures, metrics["positive"], found)


def _purity(pictures: FigureSet, metrics: dict[str, Any]) -> None:
    figure = new_figure(9.6, 3.7)
    left, right = figure.subplots(1, 2)
    plot_purity(left, metrics)
    plot_first_alarms(right, metrics)
    share, name = metrics["purity"]["prevalence"], metrics["positive"]
    pictures.add(
        figure,
        "purity.png",
        f"A survey with one {name} among {round(1 / share):,} images",
        f"Left: the fraction of the candidates that are of class {name}, against the fraction of all of that class among them; "
        f"shaded: 95% interval from the false alarms among {metrics['n_negatives']:,} others. Right: what is found while false "
        "alarms stay below a rate, or (Metcalf et al. 2019) before the first and with fewer than ten of them.",
        f"Purity against completeness; average precision {format_interval(metrics['average_precision'])}",
    )


def plot_purity(ax: Axes, metrics: dict[str, Any]) -> None:
    """Draw purity against completeness at a survey's prevalence, with the interval of the purity."""
    curve = metrics["purity"]["curve"]
    x = [point["completeness"]["value"] for point in curve]
    y, low, high = ([point["purity"][key] for point in curve] for key in ("value", "low", "high"))
    ax.fill_between(x, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
    ax.plot(x, y, color=COLOURS[0], marker="o", markersize=3, linewidth=1.4)
    ax.axhline(metrics["purity"]["prevalence"], color=FAINT, linewidth=1, linestyle=":")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    dress(ax, f"Purity at a prevalence of {metrics['purity']['prevalence']:g}", "completeness", "purity")


def plot_first_alarms(ax: Axes, metrics: dict[str, Any]) -> None:
    """Draw the true positive rates at low false positive rates, with their intervals."""
    rows = [(f"FPR {rate}", number) for rate, number in metrics["tpr_at_fpr"].items()]
    rows += [("fewer than 10 false", metrics["tpr_10"]), ("none false", metrics["tpr_0"])]
    for k, (_, number) in enumerate(rows):
        if number is None:
            ax.text(0.02, k, "too few negatives to say", va="center", fontsize=7.5, style="italic", color=FAINT)
            continue
        ax.plot([number["low"], number["high"]], [k, k], color=COLOURS[0], linewidth=1.6)
        ax.plot(number["value"], k, "o", color=COLOURS[0], markersize=5, markeredgecolor="white")
        ax.text(1.03, k, format_interval(number, 3), va="center", fontsize=7.5, color=INK, transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.02)
    dress(ax, "Found before the false alarms come", "true positive rate")


def _completeness(pictures: FigureSet, name: str, found: dict[str, Any]) -> None:
    curves, plane = found["curves"], found.get("map")
    count = len(curves) + (plane is not None)
    rows = -(-count // COLUMNS)
    figure = new_figure(9.6, 2.9 * rows)
    axes = np.ravel(figure.subplots(rows, COLUMNS, squeeze=False))
    for ax, (column, bins) in zip(axes, curves.items(), strict=False):
        plot_completeness(ax, bins, AGAINST[column])
    if plane:
        plot_completeness_map(axes[len(curves)], plane)
    for ax in axes[count:]:
        ax.axis("off")
    pictures.add(
        figure,
        "completeness.png",
        f"Which of class {name} are found",
        f"The fraction found from probability {found['threshold']:.3g} on ({found['rule']} threshold), in "
        "bins of equally many, with 95% Wilson intervals"
        + ("; the map shows it for two at once, with the numbers of images." if plane else "."),
        f"Completeness against {', '.join(AGAINST[column] for column in curves)}",
    )


def plot_completeness(ax: Axes, bins: list[dict[str, Any]], label: str) -> None:
    """Draw the fraction found in each bin, as wide as the bin, with its interval."""
    logarithmic = bins[0]["from"] > 0 and bins[-1]["to"] > 30 * bins[0]["from"]
    for b in bins:
        if b["value"] is None:
            continue
        middle = (b["from"] * b["to"]) ** 0.5 if logarithmic else 0.5 * (b["from"] + b["to"])
        ax.plot([b["from"], b["to"]], [b["value"]] * 2, color=COLOURS[0], linewidth=1.6)
        ax.plot([middle, middle], [b["low"], b["high"]], color=COLOURS[0], linewidth=1)
    if logarithmic:
        ax.set_xscale("log")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    dress(ax, "", label, "completeness")


def plot_completeness_map(ax: Axes, plane: dict[str, Any]) -> None:
    """Draw the fraction found in cells of two columns; cells with too few are grey."""
    value = np.array([[np.nan if v is None else v for v in row] for row in plane["value"]])
    ax.set_facecolor("#c8ccd4")
    ax.imshow(value, origin="lower", cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (j, i), n in np.ndenumerate(np.array(plane["n"])):
        if np.isfinite(value[j, i]):
            colour = "white" if value[j, i] > 0.55 else INK
            ax.text(i, j, f"{value[j, i]:.0%}\n{n}", ha="center", va="center", fontsize=6.5, color=colour)
    for axis, edges in ((ax.xaxis, plane["x_edges"]), (ax.yaxis, plane["y_edges"])):
        axis.set_ticks(np.arange(len(edges)) - 0.5, [f"{edge:.3g}" for edge in edges])
    dress(ax, "", AGAINST[plane["x"]], AGAINST[plane["y"]])
    ax.grid(False)
    ax.tick_params(labelsize=6.5)
