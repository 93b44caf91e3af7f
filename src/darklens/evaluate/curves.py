"""Ranking metrics on weighted samples, for many weightings at once.

A bootstrap resample is a vector of counts over the same images, so the scores are sorted once and every resample costs one
cumulative sum. Ties are handled exactly, as in scikit-learn.
"""

from __future__ import annotations

import numpy as np


class Ranking:
    """Images in the order of their score, highest first.

    Args:
        scores: `(n,)`, higher means more likely positive.
        positive: `(n,)` bool.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.last_of_its_value = np.flatnonzero(np.append(np.diff(scores[self.order]) != 0, True))
        self.positive = positive[self.order]

    def steps(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of positives and of negatives at or above each distinct score, `(B, m)` each."""
        ordered = np.take(weights, self.order, axis=1)
        everything = np.cumsum(ordered, axis=1)[:, self.last_of_its_value]
        ordered *= self.positive
        true = np.cumsum(ordered, axis=1, out=ordered)[:, self.last_of_its_value]
        return true, everything - true

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the area under the ROC curve and the average precision for each weighting.

        The area is the trapezoid's; the average precision is `sum (R_k - R_{k-1}) P_k`, without interpolation.

        Args:
            weights: `(B, n)` non-negative.

        Returns:
            Two `(B,)`; NaN where a weighting leaves no positive or no negative: among positives alone any order is perfect.
        """
        true, false = self.steps(weights)
        gained = np.diff(true, axis=1, prepend=0.0)
        positives, negatives = true[:, -1], false[:, -1]
        pairs = (gained * (negatives[:, None] - false)).sum(1) + 0.5 * (gained * np.diff(false, axis=1, prepend=0.0)).sum(1)
        precision = _ratio(true, true + false, 0.0)
        average = np.where(negatives > 0, _ratio((gained * precision).sum(1), positives), np.nan)
        return _ratio(pairs, positives * negatives), average


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates from (0, 0) to (1, 1)."""
    true, false = (np.append(0.0, part[0]) for part in Ranking(scores, positive).steps(np.ones((1, len(scores)))))
    return false / max(false[-1], 1), true / max(true[-1], 1)


def precision_recall_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision, from the highest threshold down."""
    true, false = (part[0] for part in Ranking(scores, positive).steps(np.ones((1, len(scores)))))
    return true / max(true[-1], 1), true / np.maximum(true + false, 1)


def _ratio(a: np.ndarray, b: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    return np.divide(a, b, out=np.full(a.shape, otherwise), where=b > 0)
