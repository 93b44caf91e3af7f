"""Pictures of posteriors: recovered against true, calibration, corners, and images that posterior draws predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darklens.evaluate.posterior import CURVE, intervals
from darklens.evaluate.style import COLOURS, FAINT, INK, SKY_MAP, FigureSet, dress, new_figure
from darklens.evaluate.wording import format_interval

SHOWN = 300
"""Images in a plot of recovered against true values."""
CORNER = 6
"""Parameters in a corner plot."""
SHADES = ("#cfe3f1", "#7fb6d9", "#0072B2")


def save_posterior_figures(
    folder: Path,
    samples: np.ndarray,
    truth: np.ndarray,
    metrics: dict[str, Any],
    history: Sequence[Mapping[str, float]],
    units: Mapping[str, str],
) -> None:
    """Draw recovered against true values, calibration of each parameter and of all, and the history, into a folder.

    Args:
        folder: where the pictures go.
        samples: `(n, S, P)` draws.
        truth: `(n, P)`.
        metrics: what `posterior_metrics` returned for them.
        history: rows of `history.csv`; none for an evaluation.
        units: parameter -> unit.
    """
    pictures, names = FigureSet(folder), list(metrics["parameters"])
    columns = min(3, max(2, len(names)))
    figure = new_figure(9.6, 9.6 / columns * 0.95 * -(-len(names) // columns))
    axes = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
    for k, ax in enumerate(axes):
        ax.set_visible(k < max(2, len(names)))
        if k < len(names):
            _recovered(ax, samples[:, :, k], truth[:, k], named(names[k], units))
    if len(names) == 1:
        _recovered(axes[1], samples[:, :, 0] - truth, truth[:, 0], "inferred less true", difference=True)
    pictures.add(
        figure,
        "recovered.png",
        "Recovered against true",
        f"Medians and 68% intervals of {min(len(truth), SHOWN)} of {len(truth)} test images; on the line they are right.",
        "; ".join(f"{n}: mean absolute error {format_interval(metrics['parameters'][n]['mae'])}" for n in names),
    )
    _calibration(pictures, samples, truth, metrics, names)
    if history:
        _history(pictures, history)


def named(name: str, units: Mapping[str, str]) -> str:
    """Return a parameter with its unit."""
    return f"{name} [{units[name]}]" if units.get(name) else name


def _recovered(ax: Axes, samples: np.ndarray, truth: np.ndarray, label: str, *, difference: bool = False) -> None:
    rows = np.arange(min(len(truth), SHOWN))
    low, high = intervals(samples[rows, :, None], 0.68)
    middle = np.median(samples[rows], axis=1)
    errors = np.abs(np.stack([middle - low[:, 0], high[:, 0] - middle]))
    ax.errorbar(truth[rows], middle, yerr=errors, fmt="o", ms=2.2, lw=0.5, color=COLOURS[0], alpha=0.6)
    span = [truth[rows].min(), truth[rows].max()]
    ax.plot(span, [0, 0] if difference else span, color=INK, lw=1, ls=":")
    dress(ax, label, "true", "" if difference else "inferred")


def _calibration(pictures: FigureSet, samples: np.ndarray, truth: np.ndarray, metrics: dict[str, Any], names: list[str]) -> None:
    n, columns = len(truth), min(3, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(9.6, 3.4 + 2.3 * rows)
    grid = figure.add_gridspec(rows + 1, 2 * columns, height_ratios=[1.6, *[1.0] * rows])
    left, right = figure.add_subplot(grid[0, :columns]), figure.add_subplot(grid[0, columns:])
    for k, name in enumerate(names):
        inside = [_inside(samples[:, :, k], truth[:, k], c) for c in CURVE]
        left.plot(CURVE, inside, color=COLOURS[k % len(COLOURS)], lw=1.4, label=name)
    band = 1.96 * np.sqrt(CURVE * (1 - CURVE) / n)
    for ax in (left, right):
        ax.fill_between(CURVE, (CURVE - band).clip(0, 1), (CURVE + band).clip(0, 1), color=FAINT, alpha=0.3, lw=0)
        ax.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
    left.legend(fontsize=7, frameon=False)
    dress(left, "central intervals", "probability", "share that holds the truth")
    right.plot(metrics["tarp"]["credibility"], metrics["tarp"]["coverage"], color=COLOURS[1], lw=1.4)
    dress(right, "all parameters at once (TARP)", "credibility", "coverage")
    for k, name in enumerate(names):
        counts = metrics["parameters"][name]["ranks"]
        ax = figure.add_subplot(grid[1 + k // columns, 2 * (k % columns) : 2 * (k % columns) + 2])
        ax.bar((np.arange(len(counts)) + 0.5) / len(counts), counts, 1 / len(counts), color=SHADES[1], edgecolor="white", lw=0.5)
        ax.set_ylim(0, None)
        mean, half = n / len(counts), 1.96 * np.sqrt(n / len(counts) * (1 - 1 / len(counts)))
        ax.axhspan(mean - half, mean + half, color=FAINT, alpha=0.3, lw=0)
        dress(ax, name, "rank of the truth", "images")
    headline = ", ".join(f"{p}: {100 * metrics['parameters'][p]['coverage_68']['value']:.0f}%" for p in names)
    pictures.add(
        figure,
        "calibration.png",
        "Do the intervals hold?",
        f"Above: how often intervals of a probability hold the truth, of {n} test images; on the dotted line they are honest; "
        "grey, where honest ones lie in 95 of 100 cases. Below: ranks of the true values among posterior draws, flat where "
        "posteriors are right (simulation-based calibration).",
        f"Coverage of 68% intervals: {headline}; rank histograms of {', '.join(names)}",
    )


def _inside(samples: np.ndarray, truth: np.ndarray, level: float) -> float:
    low, high = intervals(samples[:, :, None], level)
    return float(((truth >= low[:, 0]) & (truth <= high[:, 0])).mean())


def _history(pictures: FigureSet, history: Sequence[Mapping[str, float]]) -> None:
    figure = new_figure(9.6, 2.9)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key, label, colour in (("train_loss", "training", COLOURS[0]), ("val_loss", "validation", COLOURS[1])):
        left.plot(epochs, [row[key] for row in history], color=colour, lw=1.4, label=label)
    left.legend(fontsize=8, frameon=False)
    dress(left, "-ln q(z | image) a parameter", "epoch", "nats")
    right.plot(epochs, [row["val_error"] for row in history], color=COLOURS[2], lw=1.4)
    dress(right, "error of the medians, validation", "epoch", "scatter of the prior")
    best = min(history, key=lambda row: row["val_loss"])
    for ax in (left, right):
        ax.axvline(best["epoch"], color=FAINT, lw=1, ls=":")
    pictures.add(
        figure,
        "history.png",
        "Training history",
        f"The weights that are kept are those of epoch {best['epoch']:.0f} of {len(history)} (dotted).",
        f"Loss and error over {len(history)} epochs",
    )


def corner_figure(
    samples: np.ndarray, names: Sequence[str], units: Mapping[str, str], title: str, truth: np.ndarray | None = None
) -> Figure:
    """Return a corner plot of draws `(S, P)`: marginals on the diagonal, pairs with 39% and 86% contours below.

    Args:
        samples: draws; the first `CORNER` parameters are drawn.
        names: of the parameters.
        units: of them.
        title: heading.
        truth: `(P,)` true values, where they are known.
    """
    count = min(len(names), CORNER)
    figure = new_figure(1.2 + 1.9 * count, 1.2 + 1.8 * count)
    axes = figure.subplots(count, count, squeeze=False)
    for i in range(count):
        for j in range(count):
            ax = axes[i, j]
            ax.set_visible(j <= i)
            if j > i:
                continue
            _marginal(ax, samples[:, i]) if i == j else _pair(ax, samples[:, j], samples[:, i])
            if truth is not None:
                ax.axvline(truth[j], color=COLOURS[1], lw=1)
                if i != j:
                    ax.axhline(truth[i], color=COLOURS[1], lw=1)
            dress(ax, "", named(names[j], units) if i == count - 1 else "", named(names[i], units) if j == 0 and i else "")
            ax.tick_params(labelsize=7)
            ax.grid(False)
    figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _marginal(ax: Axes, values: np.ndarray) -> None:
    ax.hist(values, bins=30, color=SHADES[1], histtype="stepfilled")
    for level in np.quantile(values, [0.16, 0.5, 0.84]):
        ax.axvline(level, color=INK, lw=0.8, ls=":")
    ax.set_yticks([])


def _pair(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    ranges = [np.quantile(v, [0.001, 0.999]) + np.array([-1, 1]) * 1e-9 * max(1.0, np.abs(v).max()) for v in (x, y)]
    counts, ex, ey = np.histogram2d(x, y, bins=24, range=ranges)
    ordered = np.sort(counts.ravel())[::-1]
    total = np.cumsum(ordered) / max(ordered.sum(), 1)
    edges = sorted({float(ordered[min(int(np.searchsorted(total, share)), ordered.size - 1)]) for share in (0.39, 0.86)})
    ax.plot(x[:800], y[:800], ".", ms=1, color=FAINT, alpha=0.5)
    if edges[0] > 0:
        middle = [(e[1:] + e[:-1]) / 2 for e in (ex, ey)]
        ax.contour(*middle, counts.T, levels=edges, colors=SHADES[-1:], linewidths=1)


def save_predictive_figure(folder: Path, images: np.ndarray, predicted: np.ndarray, chi2: Mapping[str, np.ndarray]) -> None:
    """Draw images beside what draws of their posteriors look like, and how well these explain them.

    Args:
        folder: where the picture goes.
        images: `(m, H, W)`, a few.
        predicted: `(m, 3, H, W)`.
        chi2: of draws of the posterior, of the prior, and of the truth, `(n,)` each.
    """
    pictures, rows = FigureSet(folder), min(len(images), 3)
    figure = new_figure(9.6, 2.0 * rows + 2.6)
    grid = figure.add_gridspec(rows + 1, 4, height_ratios=[*[1.0] * rows, 1.1])
    for i in range(rows):
        top = np.quantile(images[i], 0.998)
        for k, (picture, title) in enumerate([(images[i], "image"), *((p, "posterior draw") for p in predicted[i])]):
            ax = figure.add_subplot(grid[i, k])
            ax.imshow(picture, origin="lower", cmap=SKY_MAP, vmin=min(0.0, float(images[i].min())), vmax=top)
            ax.set_axis_off()
            ax.set_title(title if i == 0 else "", fontsize=9, color=INK)
    ax = figure.add_subplot(grid[rows, :])
    every = np.concatenate([values[values > 0] for values in chi2.values()])
    bins = np.geomspace(every.min() * 0.9, every.max() * 1.1, 40).tolist()
    for (name, values), colour in zip(chi2.items(), (COLOURS[0], COLOURS[6], COLOURS[2]), strict=False):
        ax.hist(
            values,
            bins=bins,
            histtype="step",
            color=colour,
            lw=1.4,
            label=f"{name}, median {np.median(values):.4g}",
        )
    ax.set_xscale("log")
    ax.legend(fontsize=8, frameon=False)
    dress(ax, "how far predicted and recorded image are apart", "mean square residual in units of the noise", "draws")
    pictures.add(
        figure,
        "predictive.png",
        "Posterior-predictive check",
        "Above: test images, and what draws of their posteriors look like, all other numbers of the scene as they are. Below: the "
        "mean square residual of draws from posterior and prior, and of the true values.",
        ", ".join(f"{name}: median {np.median(values):.4g}" for name, values in chi2.items()),
    )
