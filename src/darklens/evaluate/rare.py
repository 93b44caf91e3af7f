"""How good a search for rare objects is: what it finds before its first false alarms, and what that is worth in a survey.

Intervals are those of resamples drawn within each class, so that every resample has its positives. They cost little, since nothing
changes but at the positives: a resample of the negatives is how many of them fall between two of those.

| figure | what it is |
|---|---|
| `tpr_at_fpr` | the highest fraction of positives found at a false positive rate up to 1e-2, 1e-3, 1e-4 |
| `tpr_0`, `tpr_10` | the same before the first false positive, and with fewer than ten (Metcalf et al. 2019, arXiv:1802.03609) |
| `at` | precision, recall and F1 at thresholds that were chosen on validation images |
| `purity` | purity against completeness where one image in 1,000 is positive |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.curves import Ranking
from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import difference, number, resamples

RATES = (1e-2, 1e-3, 1e-4)
FALSE_POSITIVES = {"tpr_0": 1, "tpr_10": 10}
"""Figures of the challenge, and the number of false positives that they stay below."""
PREVALENCE = 1e-3
"""Fraction of positives in a survey, unless somebody asks for another."""
COMPLETENESS = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Where the curve of purity is given."""


class Found:
    """The positives in the order of their score, and how many negatives stand before each.

    Args:
        scores: `(n,)`, higher means more likely positive.
        positive: `(n,)` bool, some of them true and some not.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        ranking = Ranking(scores, positive)
        self.order, self.positive = ranking.order, ranking.positive
        first = np.append(0, ranking.last_of_its_value[:-1] + 1)
        held = np.add.reduceat(self.positive.astype(np.int64), first) > 0
        self.first, self.last = first[held], ranking.last_of_its_value[held]
        self.places = np.flatnonzero(self.positive)
        self.scores = scores[self.order][self.last]

    def steps(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return at each score of a positive true positives, false ones, and those of them with a higher score, `(B, m)` each.

        Args:
            weights: `(B, n)`, how often each image counts.
        """
        ordered = np.take(weights, self.order, axis=1)
        true = _sums(ordered[:, self.places])[:, np.searchsorted(self.places, self.last, side="right")]
        ordered[:, self.places] = 0
        false = _sums(ordered)
        return true, false[:, self.last + 1], false[:, self.first]

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every figure for each of B weightings, `(B,)` each; those that the negatives cannot resolve are left out."""
        true, false, before = self.steps(weights)
        gained = np.diff(true, axis=1, prepend=0.0)
        share, negatives = true / true[:, -1:], len(self.order) - len(self.places)
        found = {
            "auc": 1 - (gained * (false + before)).sum(1) / (2 * true[:, -1] * negatives),
            "average_precision": (gained * true / np.maximum(true + false, 1)).sum(1) / true[:, -1],
        }
        allowed = {f"tpr_at_fpr_{rate:g}": rate * negatives for rate in RATES if rate * negatives >= 1}
        allowed |= {name: below - 1 for name, below in FALSE_POSITIVES.items()}
        return found | {name: np.where(false <= most + 1e-9, share, 0).max(1) for name, most in allowed.items()}


def _sums(values: np.ndarray) -> np.ndarray:
    """Return cumulative sums `(B, n + 1)` that begin with zero."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def rare_metrics(
    probabilities: np.ndarray,
    positive: np.ndarray,
    *,
    name: str = "lens",
    thresholds: Mapping[str, float] | None = None,
    prevalence: float = PREVALENCE,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Measure a search for the positive class.

    Args:
        probabilities: `(n,)` of the positive class; any score will do for all but the thresholds.
        positive: `(n,)` bool.
        name: of the positive class.
        thresholds: name -> probability from which on an image is called positive, chosen on other images.
        prevalence: fraction of positives for which the purity is given.
        n_boot: resamples.
        seed: of the resamples.
        level: of the intervals.

    Returns:
        `positive`, `n_positives`, `n_negatives`; `auc`, `average_precision`, `tpr_at_fpr` (rate -> number), `tpr_0`, `tpr_10`, each
        with its interval; `at`: threshold's name -> `threshold`, `precision`, `recall`, `f1`; `purity`: see `purity_curve`;
        `notes`. A rate of less than one of the negatives there are is null, which the notes say.

    Raises:
        InputError: no positives or no negatives, or a prevalence outside 0 to 1.
    """
    probabilities, positive = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    found, n = _found(probabilities, positive, name), int(positive.sum())
    called = {key: probabilities >= value for key, value in (thresholds or {}).items()}

    def measure(weights: np.ndarray) -> dict[str | tuple[str, str], np.ndarray]:
        decisions = {(key, figure): v for key, c in called.items() for figure, v in _decided(weights, positive, c).items()}
        return found.figures(weights) | decisions

    values = measure(np.ones((1, len(positive))))
    blocks = [measure(weights) for weights in resamples(positive, n_boot, seed)]
    spread = {key: np.concatenate([block[key] for block in blocks]) for key in values}
    numbers = {key: number(values[key][0], spread[key], n, level) for key in values}
    missing = [rate for rate in RATES if f"tpr_at_fpr_{rate:g}" not in numbers]
    negatives = len(positive) - n
    return {
        "positive": name,
        "n_positives": n,
        "n_negatives": negatives,
        **{key: numbers[key] for key in ("auc", "average_precision", *FALSE_POSITIVES)},
        "tpr_at_fpr": {f"{rate:g}": numbers.get(f"tpr_at_fpr_{rate:g}") for rate in RATES},
        "at": {
            key: {"threshold": float(value)} | {figure: numbers[key, figure] for figure in ("precision", "recall", "f1")}
            for key, value in (thresholds or {}).items()
        },
        "purity": purity_curve(probabilities, positive, prevalence=prevalence, level=level, name=name),
        "notes": [
            f"a false positive rate of {rate:g} is less than one of {negatives:,} negatives: its figure is null, "
            f"and needs {round(1 / rate):,}"
            for rate in missing
        ],
    }


def rare_differences(
    first: np.ndarray, second: np.ndarray, positive: np.ndarray, *, n_boot: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Any]:
    """Compare two searches among the same images, on the same resamples: first minus second.

    Args:
        first: `(n,)` probabilities.
        second: `(n,)` probabilities of the other.
        positive: `(n,)` bool.
        n_boot: resamples.
        seed: of the resamples.
        level: of the intervals.

    Returns:
        `auc`, `average_precision`, `tpr_0`, `tpr_10`, `tpr_at_fpr_0.01`, ... as far as the negatives resolve them, each with its
        interval, `excludes_zero` and `p_value`.

    Raises:
        InputError: no positives or no negatives.
    """
    positive = np.asarray(positive, bool)
    pair = [_found(np.asarray(p, np.float64), positive, "positive") for p in (first, second)]
    a, b = (one.figures(np.ones((1, len(positive)))) for one in pair)
    blocks = [[one.figures(weights) for one in pair] for weights in resamples(positive, n_boot, seed)]
    return {
        key: difference(a[key][0] - b[key][0], np.concatenate([x[key] - y[key] for x, y in blocks]), int(positive.sum()), level)
        for key in a
    }


def purity_curve(
    probabilities: np.ndarray,
    positive: np.ndarray,
    *,
    prevalence: float = PREVALENCE,
    level: float = 0.95,
    name: str = "lens",
) -> dict[str, Any]:
    """Return what fraction of the candidates would be true in a survey, against the fraction of the positives among them.

    Purity is p T / (p T + (1 - p) F) with the true and false positive rates T and F. Its interval is that of F (Clopper-Pearson),
    which decides: where a survey has a thousand negatives for each positive, no false positive among a few thousand says little.

    Args:
        probabilities: `(n,)` of the positive class.
        positive: `(n,)` bool.
        prevalence: p.
        level: of the intervals.
        name: of the positive class.

    Returns:
        `prevalence` and `curve`, a list of `threshold`, `completeness` and `purity`, numbers with intervals.

    Raises:
        InputError: no positives or no negatives, or a prevalence outside 0 to 1.
    """
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence {prevalence} is outside 0 to 1: give the fraction of {name}, 0.001 for 1 in 1,000")
    found = _found(probabilities, positive, name)
    true, false, _ = (part[0] for part in found.steps(np.ones((1, len(positive)))))
    n, negatives = int(positive.sum()), int((~positive).sum())
    curve = []
    for wanted in COMPLETENESS:
        k = int(np.searchsorted(true, wanted * n - 1e-9))
        alarms, complete = proportion(int(false[k]), negatives, level), proportion(int(true[k]), n, level)
        share = complete["value"]
        value, high, low = (
            float(prevalence * share / (prevalence * share + (1 - prevalence) * alarms[key])) for key in ("value", "low", "high")
        )
        purity = {"value": value, "low": low, "high": high, "n": negatives}
        curve.append({"threshold": float(found.scores[k]), "completeness": complete, "purity": purity})
    return {"prevalence": prevalence, "curve": curve}


def _found(scores: np.ndarray, positive: np.ndarray, name: str) -> Found:
    n = int(positive.sum())
    if not 0 < n < len(positive):
        raise InputError(f"{n} of {len(positive)} images are of class {name!r}: a search is measured on images of both classes")
    return Found(scores, positive)


def _decided(weights: np.ndarray, positive: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of decisions for each of B weightings; a precision of nothing is 0."""
    hit, all_called, there = weights @ (positive & called), weights @ called, weights @ positive
    return {"precision": hit / np.maximum(all_called, 1), "recall": hit / there, "f1": 2 * hit / (all_called + there)}
