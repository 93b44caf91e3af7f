"""Several classifiers on the same images: paired differences, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.metrics import paired_difference
from darklens.evaluate.rare import rare_differences


def compare_predictions(named: Mapping[str, tuple[Mapping[str, np.ndarray], Sequence[str]]]) -> list[dict[str, Any]]:
    """Compare every pair.

    Args:
        named: run name -> its predictions (columns `id`, `label`, one per class) and its classes.

    Returns:
        One row a pair: `a`, `b`, `n`, `classes`, and every metric's difference a minus b, as `paired_difference` gives it; of two
        classes also `search`, the differences as searches for the second one, as `rare_differences` gives them.

    Raises:
        InputError: the images, their labels, or the classes differ.
    """
    rows = []
    for (name_a, (a, classes_a)), (name_b, (b, classes_b)) in combinations(named.items(), 2):
        if list(classes_a) != list(classes_b):
            raise InputError(
                f"{name_a} tells {', '.join(classes_a)} apart and {name_b} {', '.join(classes_b)}: compare runs of the same classes"
            )
        order_a, order_b = np.argsort(a["id"], kind="stable"), np.argsort(b["id"], kind="stable")
        if len(order_a) != len(order_b) or (a["id"][order_a] != b["id"][order_b]).any():
            common = len(set(a["id"].tolist()) & set(b["id"].tolist()))
            raise InputError(
                f"{name_a} and {name_b} were tested on different images ({common} in common of {len(order_a)} and {len(order_b)}): "
                "evaluate both on the same data"
            )
        if (a["label"][order_a] != b["label"][order_b]).any():
            raise InputError(f"{name_a} and {name_b} have different labels for the same images: evaluate both on the same data")
        index = {name: i for i, name in enumerate(classes_a)}
        labels = np.array([index[v] for v in a["label"][order_a]])
        first, second = (np.stack([p[c][order] for c in classes_a], 1) for p, order in ((a, order_a), (b, order_b)))
        rows.append(
            {"a": name_a, "b": name_b, "n": len(labels), "classes": list(classes_a)}
            | paired_difference(first, second, labels, classes_a)
            | _searches(first, second, labels)
        )
    return rows


def _searches(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the differences of two searches for the second of two classes; nothing for other classes, or images of one."""
    positive = labels == 1
    if first.shape[1] != 2 or not 0 < positive.sum() < len(positive):
        return {}
    return {"search": rare_differences(first[:, 1], second[:, 1], positive)}
