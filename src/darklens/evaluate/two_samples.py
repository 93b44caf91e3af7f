"""Do two samples come from one distribution? Tests whose false alarms are counted: Kolmogorov-Smirnov, a classifier, Frechet.

- **Each number alone**: the two-sample test of Kolmogorov & Smirnov, with the correction of Holm (1979, Scand. J. Stat. 6, 65).
- **All numbers together**: a classifier learns to tell the samples apart (Lopez-Paz & Oquab 2017, arXiv:1610.06545). Its
  cross-validated AUC is compared with that of the same classifier on shuffled memberships, which is exact for any sample size. It
  is regularised least squares on normal scores with a linear and a Gaussian kernel: one factorisation serves all shuffles.
- **Features of a network**: the Frechet distance of two Gaussians (Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500),
  beside that of two halves of one sample, which is not zero either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import ks_2samp, norm, rankdata

PERMUTATIONS = 999
FOLDS = 5
MOST = 800
"""Rows of each sample that the classifier sees at most."""
RIDGE = 1.0
DIRECTIONS = 32
"""Principal directions of features that the Frechet distance is taken in."""
SPLITS = 20
"""Random halves that a distance and its floor are averaged over."""


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values `(n,)` adjusted so that any of them is below a level by chance no more often than that level."""
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(adjusted, 1)
    return found


def compare_numbers(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare two samples of a number, `(n,)` and `(m,)`; NaN counts as a value of its own, below all others.

    Returns:
        `mean_a`, `mean_b`, `median_a`, `median_b` of the finite ones, `difference` (b - a), `in_se` (by the standard error of the
        difference, Welch), `ks` (largest distance of the distribution functions) and its `p`.
    """
    finite = [v[np.isfinite(v)] for v in (a, b)]
    low = min((v.min() for v in finite if len(v)), default=0.0) - 1.0
    ks = ks_2samp(*(np.where(np.isfinite(v), v, low) for v in (a, b)))
    mean, median, square = (
        [float(f(v)) if len(v) else float("nan") for v in finite]
        for f in (np.mean, np.median, lambda v: np.var(v, ddof=1) / len(v) if len(v) > 1 else np.nan)
    )
    error = float(np.sqrt(sum(square)))
    difference = mean[1] - mean[0]
    return {
        "mean_a": mean[0],
        "mean_b": mean[1],
        "median_a": median[0],
        "median_b": median[1],
        "difference": difference,
        "in_se": difference / error if error > 0 else 0.0 if difference == 0 else float(np.copysign(np.inf, difference)),
        "ks": float(ks.statistic),
        "p": float(ks.pvalue),
    }


def classifier_test(
    a: np.ndarray, b: np.ndarray, *, seed: int = 0, permutations: int = PERMUTATIONS, most: int = MOST
) -> dict[str, Any]:
    """Let a classifier tell two samples `(n, d)` and `(m, d)` apart.

    Returns:
        `auc` with its 95% interval (DeLong et al. 1988, folds together), as `{"value", "low", "high", "n"}`; `p` from shuffled
        memberships; `null`, the AUC of the shuffles.
    """
    rng = np.random.default_rng(seed)
    a, b = (x[rng.choice(len(x), most, replace=False)] if len(x) > most else x for x in (a, b))
    x = normal_scores(np.concatenate([a, b]))
    member = np.concatenate([np.zeros(len(a)), np.ones(len(b))])
    fold = rng.permutation(len(x)) % FOLDS
    shuffled = np.stack([member, *(rng.permutation(member) for _ in range(permutations))], axis=1)
    answers = _held_out_answers(_kernel(x), shuffled, fold)
    folds = [fold == k for k in range(FOLDS)]
    areas = np.mean([_areas(answers[f], shuffled[f]) for f in folds], axis=0)
    error = np.sqrt(sum(_area_variance(answers[f, 0], member[f]) for f in folds)) / FOLDS
    auc, null = float(areas[0]), areas[1:]
    smallest = min(len(a), len(b))
    half = norm.ppf(0.975) * error if error > 0 else 1 - 0.025 ** (1 / smallest)
    return {
        "auc": {"value": auc, "low": max(0.0, auc - half), "high": min(1.0, auc + half), "n": len(x)},
        "p": float((1 + (null >= auc).sum()) / (1 + permutations)),
        "null": null,
    }


def normal_scores(x: np.ndarray) -> np.ndarray:
    """Return columns `(n, d)` by rank as if they were normal; columns of one value are 0, NaN has a column of its own."""
    missing = ~np.isfinite(x)
    low = np.where(missing, np.inf, x).min(0, keepdims=True)
    x = np.where(missing, np.where(np.isfinite(low), low, 0), x)  # beside the smallest, and marked
    x = np.concatenate([x, missing[:, missing.any(0)]], axis=1)
    scores = norm.ppf((rankdata(x, axis=0) - 0.5) / len(x))
    return scores / np.maximum(scores.std(0), 1e-9) * (np.ptp(x, axis=0) > 0)


def _kernel(x: np.ndarray) -> np.ndarray:
    """Return a linear and a Gaussian kernel, together `(n, n)`; the Gaussian is as wide as the typical distance."""
    inner = x @ x.T
    squares = np.maximum(inner.diagonal()[:, None] + inner.diagonal() - 2 * inner, 0)
    typical = np.median(squares[np.triu_indices(len(x), 1)]) or 1.0
    return inner / max(x.shape[1], 1) + np.exp(-squares / typical)


def _held_out_answers(kernel: np.ndarray, members: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return what ridge regression says of rows it has not seen, `(n, k)` for k columns of memberships."""
    answers = np.empty_like(members)
    for k in range(FOLDS):
        held, known = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        factor = cho_factor(kernel[np.ix_(known, known)] + RIDGE * np.eye(len(known)))
        target = members[known] - members[known].mean(0)
        answers[held] = kernel[np.ix_(held, known)] @ cho_solve(factor, target)
    return answers


def _areas(scores: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the AUC of each column; 0.5 where there is only one class."""
    ranks = rankdata(scores, axis=0)
    ones = members.sum(0)
    pairs = ones * (len(members) - ones)
    return np.where(pairs > 0, ((ranks * members).sum(0) - ones * (ones + 1) / 2) / np.maximum(pairs, 1), 0.5)


def _area_variance(scores: np.ndarray, member: np.ndarray) -> float:
    """Return the variance of an AUC (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837)."""
    above, below = scores[member == 1], scores[member == 0]
    if len(above) < 2 or len(below) < 2:
        return 0.25
    wins = (above[:, None] > below).astype(float) + 0.5 * (above[:, None] == below)
    return float(np.var(wins.mean(1), ddof=1) / len(above) + np.var(wins.mean(0), ddof=1) / len(below))


def frechet_test(a: np.ndarray, b: np.ndarray, *, seed: int = 0, permutations: int = PERMUTATIONS) -> dict[str, float]:
    """Compare features `(n, d)` and `(m, d)` by their Frechet distance, in units of the standard deviations of both together.

    Returns:
        `distance` between a half of each, `floor` between two halves of one, both means over `SPLITS` splits and of one size, so
        that the first exceeds the second only where the samples differ; `p` of the distance of the whole from shuffles.
    """
    rng = np.random.default_rng(seed)
    x = _directions(np.concatenate([a, b]).astype(np.float64))
    a, b = x[: len(a)], x[len(a) :]
    half = min(len(a), len(b)) // 2
    distances, floors = [], []
    for _ in range(SPLITS):
        i, j = rng.permutation(len(a)), rng.permutation(len(b))
        first, second = a[i[:half]], b[j[:half]]
        distances.append(frechet_distance(first, second))
        floors += [frechet_distance(first, a[i[half : 2 * half]]), frechet_distance(second, b[j[half : 2 * half]])]
    whole = frechet_distance(a, b)
    beyond = 0
    for _ in range(permutations):
        order = rng.permutation(len(x))
        beyond += frechet_distance(x[order[: len(a)]], x[order[len(a) :]]) >= whole
    return {
        "distance": float(np.mean(distances)),
        "floor": float(np.mean(floors)),
        "whole": float(whole),
        "p": (1 + beyond) / (1 + permutations),
    }


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return `|mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)` of samples `(n, d)`, `(m, d)`; A, B are covariances."""
    covariances = [np.atleast_2d(np.cov(v, rowvar=False)) for v in (a, b)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = sum(np.trace(c) for c in covariances)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + traces - 2 * np.sqrt(np.maximum(middle, 0)).sum())


def _directions(x: np.ndarray) -> np.ndarray:
    """Return the principal directions of rows `(n, d)`, each of unit variance; those of no variance go."""
    x = x - x.mean(0)
    x = x / np.maximum(x.std(0), 1e-9 * max(float(np.abs(x).max()), 1e-30))
    _, sizes, directions = np.linalg.svd(x, full_matrices=False)
    kept = sizes[:DIRECTIONS] > 1e-6 * sizes[0]
    projected = x @ directions[:DIRECTIONS][kept].T
    return projected / projected.std(0)
