"""Split-conformal prediction sets: classes enough to hold the true one in a stated fraction of the images.

With scores `s_i = 1 - p_i(true class)` of n images that the model was not trained on, the set of all classes with
`1 - p <= q`, q the `ceil((n + 1) c)`-th smallest score, holds the true class of a further image of the same kind with probability
c at least, whatever the model is worth (Angelopoulos & Bates 2021, arXiv:2107.07511, section 1.1; least ambiguous sets: Sadinle
et al. 2019). Such sets are empty where nothing is probable enough; here they hold the most probable class all the same, which can
only raise the coverage. A model that is right more often than c covers more than it was asked for, with sets of one class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.proportion import proportion

METHOD = "least ambiguous sets (score 1 - p), never empty"


def conformal_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `1 - p` of the true class, `(n,)`, of probabilities `(n, k)` and class indices `(n,)`."""
    return 1 - np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]


def conformal_threshold(scores: np.ndarray, coverage: float) -> float:
    """Return the score up to which a class belongs to a set; infinite where n is too small for any promise.

    Args:
        scores: `(n,)` of images that were not trained on.
        coverage: wanted fraction of sets that hold the true class.

    Raises:
        InputError: a coverage that is no fraction between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage {coverage} is outside 0 to 1: give a fraction between them, for example 0.9")
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def prediction_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return which classes belong to the set of each image, `(n, k)` bool; the most probable one always does."""
    inside = 1 - probabilities <= threshold
    inside[np.arange(len(inside)), probabilities.argmax(1)] = True
    return inside


def conformal_metrics(sets: np.ndarray, labels: np.ndarray, asked: float) -> dict[str, Any]:
    """Measure prediction sets on labelled images.

    Returns:
        `asked`, `method`, `coverage` with its exact 95% interval, `size` (mean number of classes), `sizes` (images per number).
    """
    sizes = sets.sum(1)
    held = int(sets[np.arange(len(labels)), labels].sum())
    return {
        "asked": asked,
        "method": METHOD,
        "coverage": proportion(held, len(labels)),
        "size": float(sizes.mean()),
        "sizes": {str(size): int((sizes == size).sum()) for size in np.unique(sizes)},
    }
