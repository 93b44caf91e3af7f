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
    if not _both(judge):
        return {}
    probabilities, labels = judge.held_out
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
    limits = thresholds_of(judge) if _both(judge) else {"equal-odds": judge.prior[judge.classes[1]] if judge.prior else 0.5}
    if (asked := getattr(judge, "cut", None)) is not None:
        limits["asked"] = asked
    rule = next(rule for rule in ("asked", "f1", "equal-odds") if rule in limits)
    search = rare_metrics(probabilities[:, 1], positive, name=judge.classes[1], thresholds=limits, prevalence=share)
    truth = {name: values[positive] for name, values in images.truth.items()}
    found = completeness(probabilities[positive, 1] >= limits[rule], truth)
    return {"search": search, "completeness": found | {"threshold": float(limits[rule]), "rule": rule} if found else {}}


def _both(judge: Judge) -> bool:
    """Whether there are validation images of both of two classes."""
    return len(judge.classes) == 2 and judge.held_out is not None and len(np.unique(judge.held_out[1])) == 2
