"""What a run of two classes says of itself as a search: thresholds from validation, and what they find in a test."""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.evaluate.completeness import completeness
from darklens.evaluate.rare import PREVALENCE, rare_metrics
from darklens.evaluate.thresholds import choose_thresholds
from darklens.train.answers import Judge
from darklens.train.deciding import costs_of, thresholds_of
from darklens.train.image_set import ImageSet


def chosen_thresholds(judge: Judge) -> dict[str, Any]:
    """Return what `calibration.json` says of thresholds: nothing for other than two classes, or where validation lacks one."""
    if (kept := _of_both(judge)) is None:
        return {}
    probabilities, labels = kept
    cost_fp, cost_fn = costs_of(judge)
    found = choose_thresholds(probabilities[:, 1], labels == 1, name=judge.classes[1], cost_fp=cost_fp, cost_fn=cost_fn)
    return {"thresholds": {"class": judge.classes[1], "chosen_on": "validation"} | found}


def search_metrics(judge: Judge, images: ImageSet, probabilities: np.ndarray) -> dict[str, Any]:
    """Measure a model of two classes as a search for the second one.

    Args:
        judge: the model.
        images: what it was asked about, with what is known of them.
        probabilities: `(n, 2)`, its answers.

    Returns:
        `search`, as `rare_metrics` gives it, and `completeness`, of the images that are found at its F1 threshold (at equal odds,
        where it has none); nothing for other than two classes, or images of one class.
    """
    positive = images.labels == 1
    if len(judge.classes) != 2 or not 0 < positive.sum() < len(positive):
        return {}
    share = getattr(judge, "prevalence", None) or PREVALENCE
    equal_odds = judge.prior[judge.classes[1]] if judge.prior else 0.5
    limits = {"equal-odds": equal_odds} if _of_both(judge) is None else thresholds_of(judge)
    if (asked := getattr(judge, "cut", None)) is not None:
        limits["asked"] = asked
    rule = next(rule for rule in ("asked", "f1", "equal-odds") if rule in limits)
    search = rare_metrics(probabilities[:, 1], positive, name=judge.classes[1], thresholds=limits, prevalence=share)
    truth = {name: values[positive] for name, values in images.truth.items()}
    found = completeness(probabilities[positive, 1] >= limits[rule], truth)
    return {"search": search, "completeness": found | {"threshold": float(limits[rule]), "rule": rule} if found else {}}


def _of_both(judge: Judge) -> tuple[np.ndarray, np.ndarray] | None:
    """Return probabilities and classes of the validation images, if some are of one and some of the other of two classes."""
    kept = judge.held_out if len(judge.classes) == 2 else None
    return kept if kept is not None and len(np.unique(kept[1])) == 2 else None
