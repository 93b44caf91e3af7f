"""From posterior draws and true values to numbers: errors, coverage, ranks, and the test of the joint posterior.

- Coverage: how often the central interval of a probability holds the truth.
- Ranks (simulation-based calibration, Talts et al. 2018, arXiv:1804.06788): the rank of the truth among draws of its posterior
  is uniform if and only if the marginal posteriors are right in the mean over the prior.
- TARP (Lemos et al. 2023, arXiv:2302.03026): the share of draws that are nearer to a random point than the truth is uniform; it
  tests the joint posterior of all parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import number, resamples

LEVELS = (0.68, 0.95)
"""Probabilities of the intervals whose coverage is a headline."""
CURVE = np.linspace(0.0, 1.0, 21)
BINS = 20
"""Of a histogram of ranks."""


def intervals(samples: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the central interval of draws `(n, S, P)`: low and high, `(n, P)` each."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


def ranks(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the share of draws `(n, S, P)` below the true values `(n, P)`, ties split evenly, `(n, P)` in [0, 1]."""
    true = truth[:, None, :]
    return (samples < true).mean(1) + 0.5 * (samples == true).mean(1)


def tarp(samples: np.ndarray, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the share of draws nearer to a random reference than the truth is, `(n,)`; uniform where posteriors are right.

    Args:
        samples: `(n, S, P)`.
        truth: `(n, P)`.
        seed: of the references, which are uniform over the range of the true values.
    """
    low, span = truth.min(0), np.maximum(np.ptp(truth, axis=0), 1e-300)
    reference = np.random.default_rng(seed).random(truth.shape)
    draws, true = (samples - low) / span, (truth - low) / span
    near = np.linalg.norm(draws - reference[:, None], axis=2)
    return (near < np.linalg.norm(true - reference, axis=1)[:, None]).mean(1)


def deviation(shares: np.ndarray) -> float:
    """Return the largest distance between the distribution of shares `(n,)` and the uniform one (Kolmogorov-Smirnov)."""
    ordered, n = np.sort(shares), len(shares)
    steps = np.arange(1, n + 1) / n
    return float(max((steps - ordered).max(), (ordered - steps + 1 / n).max()))


def critical(n: int) -> float:
    """Return the distance that n uniform numbers exceed in one of 20 cases (asymptotic, Stephens 1970)."""
    return 1.358 / (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n))


def information(samples: np.ndarray) -> np.ndarray:
    """Return how much each image says of one parameter, `(n,)` in nats: the divergence of its draws `(n, S)` from those of all.

    Draws are counted in bins that each hold as many of all; what the count of S draws adds by chance, (bins - 1)/2S, is taken off.
    An angle that is known but for half a turn is known, though its median is not.
    """
    edges = np.unique(np.quantile(samples, np.linspace(0, 1, BINS + 1)[1:-1]))
    share = np.stack([np.bincount(np.searchsorted(edges, row), minlength=len(edges) + 1) for row in samples]) / samples.shape[1]
    ratio = np.where(share > 0, share, 1) / share.mean(0)
    return (share * np.log(np.where(share > 0, ratio, 1))).sum(1) - len(edges) / (2 * samples.shape[1])


def posterior_metrics(
    samples: np.ndarray, truth: np.ndarray, names: tuple[str, ...], *, n_boot: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Measure posteriors of n images against the truth.

    Args:
        samples: `(n, S, P)` draws.
        truth: `(n, P)`.
        names: the P parameters.
        n_boot: bootstrap resamples of the images.
        level: of the intervals of the metrics.
        seed: of resamples and references.

    Returns:
        `n`; `parameters`: name -> `mae`, `rmse`, `bias`, `scatter` of the medians, `coverage_68`, `coverage_95`, mean half `width`
        of the 68% interval, `prior_mae` (of always saying the median of the truth), each with its interval, `ranks` (counts)
        and `ks` (largest distance of the ranks from uniform ones, beside `critical`, exceeded by chance once in 20); `tarp` with
        the curve and its `ks`.
    """
    counts = np.concatenate(list(resamples(np.zeros(len(truth)), n_boot, seed)))
    middle = np.median(samples, axis=1)
    below = ranks(samples, truth)
    found = {name: _of_one(samples[:, :, k], middle[:, k], truth[:, k], below[:, k], counts, level) for k, name in enumerate(names)}
    shares = tarp(samples, truth, seed)
    curve = {"credibility": CURVE.tolist(), "coverage": [float((shares <= c).mean()) for c in CURVE]}
    joint = {"ks": deviation(shares), "critical": critical(len(truth))} | curve
    return {"n": len(truth), "n_boot": n_boot, "level": level, "parameters": found, "tarp": joint}


def _of_one(
    samples: np.ndarray, middle: np.ndarray, truth: np.ndarray, below: np.ndarray, counts: np.ndarray, level: float
) -> dict:
    n, error = len(truth), middle - truth
    mean, square = counts @ error / n, counts @ error**2 / n
    found = {
        "mae": number(np.abs(error).mean(), counts @ np.abs(error) / n, n, level),
        "rmse": number(np.sqrt((error**2).mean()), np.sqrt(square), n, level),
        "bias": number(error.mean(), mean, n, level),
        "scatter": number(error.std(), np.sqrt(np.maximum(square - mean**2, 0)), n, level),
        "prior_mae": number(np.abs(truth - np.median(truth)).mean(), counts @ np.abs(truth - np.median(truth)) / n, n, level),
    }
    told = information(samples)
    found["information"] = number(told.mean(), counts @ told / n, n, level)
    for wanted in LEVELS:
        low, high = intervals(samples[:, :, None], wanted)
        inside = (truth >= low[:, 0]) & (truth <= high[:, 0])
        found[f"coverage_{round(100 * wanted)}"] = proportion(int(inside.sum()), n)
        if wanted == LEVELS[0]:
            width = (high[:, 0] - low[:, 0]) / 2
            found["width"] = number(width.mean(), counts @ width / n, n, level)
    histogram = np.histogram(below, bins=BINS, range=(0, 1))[0].tolist()
    return found | {"ranks": histogram, "ks": deviation(below), "critical": critical(n)}


def recalibrated(samples: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Return draws `(n, S, P)` moved so that intervals hold (Kuleshov, Fenner & Ermon 2018, arXiv:1807.00263).

    Where the truth of held-out images lies below the level q of their posteriors in a share p of the cases, q is called p. Each
    parameter is moved by itself, in order, so that correlations stay.

    Args:
        samples: draws.
        quantiles: `(P, K)` of the ranks of the truth of held-out images, at K even levels from 0 to 1.
    """
    levels, count = np.linspace(0, 1, quantiles.shape[1]), samples.shape[1]
    own = (np.arange(count) + 0.5) / count
    order = samples.argsort(1).argsort(1)
    ordered, out = np.sort(samples, axis=1), np.empty_like(samples)
    for k, row in enumerate(quantiles):
        place = np.interp(own, levels, row) * count - 0.5
        left = np.clip(np.floor(place).astype(int), 0, count - 2)
        share = np.clip(place - left, 0, 1)
        moved = ordered[:, left, k] * (1 - share) + ordered[:, left + 1, k] * share
        out[:, :, k] = np.take_along_axis(moved, order[:, :, k], 1)
    return out


def effective_sample_size(log_weights: np.ndarray) -> np.ndarray:
    """Return the effective number of draws with log weights `(..., S)`, `(...)`: `(sum w)^2 / sum w^2` (Kish 1965)."""
    shifted = log_weights - log_weights.max(-1, keepdims=True)
    w = np.exp(shifted)
    return w.sum(-1) ** 2 / (w**2).sum(-1)


def weighted_quantile(values: np.ndarray, weights: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return quantiles of draws `(S,)` with weights `(S,)`."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return np.interp(levels, (total - 0.5 * weights[order]) / total[-1], values[order])
