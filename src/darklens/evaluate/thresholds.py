"""From which probability on an image is called positive: the threshold with the best F1, and the one that costs least.

Both are chosen on validation images; the test images only show what they are worth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.curves import Ranking

RULES = ("f1", "cost")
"""The rules by which a threshold may be chosen."""


def choose_thresholds(
    probabilities: np.ndarray,
    positive: np.ndarray,
    *,
    name: str = "lens",
    cost_fp: float = 1.0,
    cost_fn: float = 1.0,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Choose thresholds on validation images.

    Args:
        probabilities: `(n,)` of the positive class.
        positive: `(n,)` bool.
        name: of the positive class, for what is said.
        cost_fp: of a false positive.
        cost_fn: of a positive that is missed, in the same unit.
        prevalence: fraction of positives where the threshold shall serve; by default that of these images.

    Returns:
        `f1`: `threshold`, and the `f1`, `precision` and `recall` that it has on these images; `cost`: `threshold`, the mean `cost`
        an image, `cost_fp`, `cost_fn`, `precision` and `recall`; `n`, `positives`, `prevalence`. An image is positive from its
        threshold on; thresholds lie midway between two neighbouring probabilities.

    Raises:
        InputError: no positives or no negatives, a cost that is not above zero, or a prevalence outside 0 to 1.
    """
    probabilities, positive = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    n, positives = len(positive), int(positive.sum())
    if not 0 < positives < n:
        missing = f"none of the {n} validation images is" if not positives else f"all {n} validation images are"
        raise InputError(f"{missing} of class {name!r}, so no threshold can be chosen: validate on images of both classes")
    if min(cost_fp, cost_fn) <= 0:
        raise InputError(
            f"costs {cost_fp} and {cost_fn}: both must be above 0, and only their ratio counts: give for example 1 and 20"
        )
    share = positives / n if prevalence is None else prevalence
    if not 0 < share < 1:
        raise InputError(f"prevalence {prevalence} is outside 0 to 1: give the fraction of {name}, 0.001 for 1 in 1,000")
    weights = np.where(positive, share / positives, (1 - share) / (n - positives))
    ranking = Ranking(probabilities, positive)
    true, false = (np.append(0.0, part[0]) for part in ranking.steps(weights[None]))  # the first: nothing is called positive
    places = _between(probabilities[ranking.order][ranking.last_of_its_value])
    f1 = 2 * true / (share + true + false)
    cost = cost_fp * false + cost_fn * (share - true)
    best, cheapest = int(f1.argmax()), int(cost.argmin())

    def at(k: int) -> dict[str, float]:
        called = true[k] + false[k]
        return {
            "threshold": float(places[k]),
            "precision": float(true[k] / called if called else 0),
            "recall": float(true[k] / share),
        }

    return {
        "f1": at(best) | {"f1": float(f1[best])},
        "cost": at(cheapest) | {"cost": float(cost[cheapest]), "cost_fp": cost_fp, "cost_fn": cost_fn},
        "n": n,
        "positives": positives,
        "prevalence": share,
    }


def _between(values: np.ndarray) -> np.ndarray:
    """Return places above, between and below probabilities that fall, one more than there are of them."""
    lower = np.append(values[1:], 0.0)
    return np.append((1 + values[0]) / 2 if values[0] < 1 else np.nextafter(1.0, 2.0), (values + lower) / 2)
