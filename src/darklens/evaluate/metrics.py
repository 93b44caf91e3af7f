"""From class probabilities and labels to metrics with bootstrap intervals.

Every headline number is `{"value": v, "low": l, "high": h, "n": n}` with the 95% percentile interval of 1,000 resamples of the
images (Efron & Tibshirani 1993, ch. 13), drawn within each class, so that the class ratio of the test set stays what it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.curves import area_under_roc, average_precision

BINS = 15
"""Bins of the expected calibration error, of equal width in confidence (Guo et al. 2017)."""
BLOCK = 100
"""Resamples worked on at once."""
SCALARS = (
    "accuracy",
    "loss",
    "auc_macro",
    "average_precision",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "ece",
    "brier",
)
PER_CLASS = ("auc", "average_precision_per_class", "precision", "recall", "f1")


def classification_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: list[str] | tuple[str, ...],
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
    values = _measure(probabilities, labels, np.ones((1, len(labels))))
    spread = _resampled(probabilities, labels, n_boot, seed)
    absent = [name for k, name in enumerate(classes) if not (labels == k).any()]
    result: dict[str, Any] = {key: _number(values[key][0], spread[key], labels.size, level) for key in SCALARS}
    for key in PER_CLASS:
        result[key] = {
            name: _number(values[key][0, k], spread[key][:, k], int((labels == k).sum()), level) for k, name in enumerate(classes)
        }
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    notes = [
        f"class {name!r} does not occur in these labels: its figures are null and the means are over the others" for name in absent
    ]
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
    classes: list[str] | tuple[str, ...],
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
        resamples on one side of zero.

    Raises:
        InputError: shapes, values or labels do not fit.
    """
    first, labels = _checked(first, labels, len(classes))
    second, _ = _checked(second, labels, len(classes))
    ones = np.ones((1, len(labels)))
    a, b = _measure(first, labels, ones), _measure(second, labels, ones)
    spread_a, spread_b = (_resampled(p, labels, n_boot, seed) for p in (first, second))
    result = {}
    for key in SCALARS:
        difference = spread_a[key] - spread_b[key]
        number = _number(a[key][0] - b[key][0], difference, labels.size, level)
        number["excludes_zero"] = number["low"] is not None and not number["low"] <= 0 <= number["high"]
        finite = difference[np.isfinite(difference)]
        sides = min((finite <= 0).mean(), (finite >= 0).mean()) if finite.size else np.nan
        number["p_value"] = _plain(min(1.0, 2 * max(sides, 1 / max(finite.size, 1))))
        result[key] = number
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


def _resampled(probabilities: np.ndarray, labels: np.ndarray, n_boot: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    parts = []
    for start in range(0, n_boot, BLOCK):
        weights = np.zeros((min(BLOCK, n_boot - start), len(labels)))
        for members in groups:
            weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=len(weights))
        parts.append(_measure(probabilities, labels, weights))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _measure(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric for each of B weightings `(B, n)`: scalars `(B,)`, per-class figures `(B, k)`."""
    n, k = p.shape
    predicted = p.argmax(1)
    right = predicted == labels
    total = weights.sum(1)
    one_hot = np.eye(k)[labels]
    auc = np.stack([area_under_roc(p[:, c], labels == c, weights) for c in range(k)], axis=1)
    ap = np.stack([average_precision(p[:, c], labels == c, weights) for c in range(k)], axis=1)
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
        "ece": _calibration_error(p.max(1), right, weights),
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


def _calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    bins = np.eye(BINS)[np.minimum((confidence * BINS).astype(int), BINS - 1)]
    return np.abs(weights @ (bins * (right - confidence)[:, None])).sum(1) / weights.sum(1)


def _number(value: float, spread: np.ndarray, n: int, level: float) -> dict[str, Any]:
    finite = spread[np.isfinite(spread)]
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2]) if finite.size else (np.nan, np.nan)
    return {"value": _plain(value), "low": _plain(low), "high": _plain(high), "n": n}


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
