"""Ranking metrics on weighted samples, for many weightings at once.

A bootstrap resample is a vector of counts over the same images, so the scores are sorted once and every resample costs one
cumulative sum. Ties are handled exactly, as in scikit-learn.
"""

from __future__ import annotations

import numpy as np


def _steps(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative weight of positives and of negatives above each distinct score, highest first: `(B, m)` each."""
    order = np.argsort(-scores, kind="stable")
    last_of_its_value = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sorted_weights = weights[:, order]
    is_positive = positive[order]
    true = np.cumsum(sorted_weights * is_positive, axis=1)[:, last_of_its_value]
    false = np.cumsum(sorted_weights * ~is_positive, axis=1)[:, last_of_its_value]
    return true, false


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), np.nan), where=b > 0)


def area_under_roc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve for each weighting.

    Args:
        scores: `(n,)`, higher means more likely positive.
        positive: `(n,)` bool.
        weights: `(B, n)` non-negative.

    Returns:
        `(B,)`; NaN where a weighting leaves no positive or no negative.
    """
    true, false = (np.concatenate([np.zeros((len(weights), 1)), part], axis=1) for part in _steps(scores, positive, weights))
    area = (0.5 * (true[:, 1:] + true[:, :-1]) * np.diff(false, axis=1)).sum(1)
    return _ratio(area, true[:, -1] * false[:, -1])


def average_precision(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `sum (R_k - R_{k-1}) P_k` for each weighting; arguments and result as in `area_under_roc`."""
    true, false = _steps(scores, positive, weights)
    precision = np.nan_to_num(_ratio(true, true + false))
    gained = np.diff(true, axis=1, prepend=0.0)
    return _ratio((gained * precision).sum(1), true[:, -1])


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates from (0, 0) to (1, 1)."""
    true, false = (np.append(0.0, part[0]) for part in _steps(scores, positive, np.ones((1, len(scores)))))
    return false / max(false[-1], 1), true / max(true[-1], 1)


def precision_recall_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision, from the highest threshold down."""
    true, false = (part[0] for part in _steps(scores, positive, np.ones((1, len(scores)))))
    return true / max(true[-1], 1), true / np.maximum(true + false, 1)
