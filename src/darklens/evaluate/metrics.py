"""From class probabilities and labels to metrics with bootstrap intervals.

Every headline number is `{"value": v, "low": l, "high": h, "n": n}` with the 95% percentile interval of 1,000 resamples of the
images (Efron & Tibshirani 1993, ch. 13), drawn within each class, so that the class ratio of the test set stays what it is.
Only the calibration error, which is biased, has an interval of its own (`calibration`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.calibration import calibration_error, calibration_interval
from darklens.evaluate.curves import Ranking
from darklens.evaluate.resampling import difference, number, plain, resamples

SCALARS = (
    "accuracy",
    "loss",
    "auc_macro",
    "average_precision",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "brier",
)
PER_CLASS = ("auc", "average_precision_per_class", "precision", "recall", "f1")


def classification_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Measure a classifier.

    Args:
        probabilities: `(n, k)`, rows adding up to one.
        labels: `(n,)` class indices.
        classes: k names.
        n_boot: resamples.
        seed: of the resamples; two models measured with one seed on the same labels share their resamples.
        level: of the intervals.

    Returns:
        `accuracy`, `loss` (mean negative log-likelihood), `auc_macro`, `average_precision` (macro), `precision_macro`,
        `recall_macro`, `f1_macro`, `ece`, `brier`, each with its interval; `auc`, `average_precision_per_class`,
        `precision`, `recall`, `f1` per class likewise; `confusion_matrix` (rows true), `classes`, `n`, `level`, `notes`. A class
        that is absent from the labels has null figures and is left out of the macro means, which the notes say.

    Raises:
        InputError: shapes, values or labels do not fit.
    """
    probabilities, labels = _checked(probabilities, labels, len(classes))
    (values,) = _measured([probabilities], labels, [np.ones((1, len(labels)))])
    (spread,) = _measured([probabilities], labels, resamples(labels, n_boot, seed))
    absent = [name for k, name in enumerate(classes) if not (labels == k).any()]
    result: dict[str, Any] = {key: number(values[key][0], spread[key], labels.size, level) for key in SCALARS}
    low, high = calibration_interval(values["ece"][0], spread["ece"], probabilities.max(1), level, seed)
    result["ece"] = {"value": plain(values["ece"][0]), "low": plain(low), "high": plain(high), "n": labels.size}
    for key in PER_CLASS:
        result[key] = {
            name: number(values[key][0, k], spread[key][:, k], int((labels == k).sum()), level) for k, name in enumerate(classes)
        }
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    notes = [
        f"class {name!r} does not occur in these labels: its figures are null and the means are over the others" for name in absent
    ]
    if result["accuracy"]["value"] == 1:
        notes.append(
            f"no mistake on {labels.size:,} images, so resampling them shows none either and intervals have no width; "
            f"by the rule of three the error rate is below {3 / labels.size:.2%} at 95% confidence"
        )
    return result | {
        "confusion_matrix": counts.tolist(),
        "classes": list(classes),
        "n": int(labels.size),
        "level": level,
        "n_boot": n_boot,
        "notes": notes,
    }


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Compare two classifiers on the same images: first minus second, on the same resamples.

    Args:
        first: `(n, k)` probabilities.
        second: `(n, k)` probabilities of the other.
        labels: `(n,)` class indices.
        classes: k names.
        n_boot: resamples.
        seed: of the resamples.
        level: of the intervals.

    Returns:
        For every scalar metric the difference with its interval, `excludes_zero`, and `p_value`, twice the smaller fraction of
        resamples on one side of zero. `ece` is left out: both errors are biased, by different amounts, and no bootstrap of
        their difference keeps its level; `loss` and `brier`, proper scores, compare calibration fairly.

    Raises:
        InputError: shapes, values or labels do not fit.
    """
    first, labels = _checked(first, labels, len(classes))
    second, _ = _checked(second, labels, len(classes))
    a, b = _measured([first, second], labels, [np.ones((1, len(labels)))])
    spread_a, spread_b = _measured([first, second], labels, resamples(labels, n_boot, seed))
    result = {}
    for key in SCALARS:
        result[key] = difference(a[key][0] - b[key][0], spread_a[key] - spread_b[key], labels.size, level)
    return result


def _checked(probabilities: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or probabilities.shape != (labels.size, k):
        raise InputError(
            f"probabilities have shape {probabilities.shape}: {labels.size} labels and {k} classes need ({labels.size}, {k})"
        )
    if not labels.size:
        raise InputError("there are no images to measure on: give at least 1")
    if not np.isfinite(probabilities).all() or np.abs(probabilities.sum(1) - 1).max() > 1e-3:
        raise InputError("probabilities must be finite and add up to 1 in every row: apply a softmax first")
    if labels.min() < 0 or labels.max() >= k:
        raise InputError(f"labels go from {labels.min()} to {labels.max()}: with {k} classes they must be 0 to {k - 1}")
    return probabilities, labels.astype(np.int64)


def _measured(several: Sequence[np.ndarray], labels: np.ndarray, weightings: Iterable[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Measure several classifiers on the same weightings."""
    rankings = [[Ranking(p[:, c], labels == c) for c in range(p.shape[1])] for p in several]
    parts = [[_measure(p, labels, w, r) for p, r in zip(several, rankings, strict=True)] for w in weightings]
    return [{key: np.concatenate([part[key] for part in of_one]) for key in of_one[0]} for of_one in zip(*parts, strict=True)]


def _measure(p: np.ndarray, labels: np.ndarray, weights: np.ndarray, rankings: Sequence[Ranking]) -> dict[str, np.ndarray]:
    """Return every metric for each of B weightings `(B, n)`: scalars `(B,)`, per-class figures `(B, k)`."""
    n, k = p.shape
    predicted = p.argmax(1)
    right = predicted == labels
    total = weights.sum(1)
    one_hot = np.eye(k)[labels]
    auc, ap = (np.stack(area, axis=1) for area in zip(*(ranking.areas(weights) for ranking in rankings), strict=True))
    there = weights @ one_hot
    called = weights @ np.eye(k)[predicted]
    hit = weights @ (one_hot * right[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(there > 0, hit / there, np.nan)
        precision = np.where(there > 0, np.where(called > 0, hit / called, 0.0), np.nan)
        f1 = np.where(there > 0, 2 * hit / (there + called), np.nan)
    out = {
        "accuracy": weights @ right / total,
        "loss": weights @ -np.log(np.clip(p[np.arange(n), labels], 1e-15, 1)) / total,
        "brier": weights @ ((p - one_hot) ** 2).sum(1) / total,
        "ece": calibration_error(p.max(1), right, weights),
        "auc": auc,
        "average_precision_per_class": ap,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    means = {
        "auc_macro": auc,
        "average_precision": ap,
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
    }
    return out | {name: _mean_of_present(values) for name, values in means.items()}


def _mean_of_present(values: np.ndarray) -> np.ndarray:
    present = np.isfinite(values)
    return np.where(present.any(1), np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1), np.nan)
