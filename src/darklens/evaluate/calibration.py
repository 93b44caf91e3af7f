"""Temperature scaling (Guo et al. 2017): one number that makes confidences mean what they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from darklens.errors import InputError

LIMITS = (0.02, 50.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T with which `softmax(logits / T)` has the smallest loss on these images.

    Args:
        logits: `(n, k)`.
        labels: `(n,)` class indices.

    Raises:
        InputError: logits are not finite, or there are no images.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if not labels.size or not np.isfinite(logits).all():
        raise InputError(f"temperature cannot be fitted on {labels.size} images with logits that must be finite: check validation")

    def loss(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(labels.size), labels].mean()

    found = minimize_scalar(loss, bounds=tuple(np.log(LIMITS)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
