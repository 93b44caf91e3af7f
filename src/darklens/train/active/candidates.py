"""What a strategy chooses from: a model's answers and features of images without labels, beside those it has learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from darklens.errors import InputError
from darklens.train.predictor import Predictor

ANCHORS = 2000
"""Images already learned from that a strategy compares with, at most; more change no choice and cost time."""


@dataclass(frozen=True)
class Candidates:
    """Images that may be asked for, as a model sees them.

    Args:
        probabilities: `(n, k)`, calibrated.
        features: `(n, d)`, what the last layer sees.
        known: `(m, d)` likewise of images that the model has learned from.
        known_probabilities: `(m, k)` its answers there.
        classes: k names; the last one is what is searched for.

    Raises:
        InputError: lengths do not fit, or there is no candidate.
    """

    probabilities: np.ndarray
    features: np.ndarray
    known: np.ndarray
    known_probabilities: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.probabilities):
            raise InputError("no image is left to choose from: the pool is labelled, or give a larger one")
        shapes = {len(self.probabilities) - len(self.features), len(self.known) - len(self.known_probabilities)}
        if shapes != {0} or self.features.shape[1:] != self.known.shape[1:]:
            raise InputError(
                f"{len(self.probabilities)} answers, features {self.features.shape} and {self.known.shape} do not belong together: "
                "take all of them from one model"
            )

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def margin(self) -> np.ndarray:
        """`(n,)` probability of the best class minus that of the second: 0 where the model cannot decide."""
        best = np.partition(self.probabilities, -2, axis=1)
        return best[:, -1] - best[:, -2]

    @cached_property
    def scaled(self) -> np.ndarray:
        """`(n, d)` features in units of their scatter over known images, so that distances do not depend on a layer's units."""
        return self._scaled(self.features)

    @cached_property
    def anchors(self) -> np.ndarray:
        """`(m', d)` likewise of known images, at most `ANCHORS`, evenly spread."""
        return self._scaled(self.known[self._anchored])

    @property
    def anchor_probabilities(self) -> np.ndarray:
        """`(m', k)` answers on the anchors."""
        return self.known_probabilities[self._anchored]

    @property
    def _anchored(self) -> np.ndarray:
        return np.unique(np.linspace(0, len(self.known) - 1, min(ANCHORS, len(self.known))).astype(np.int64))

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        reference = self.known if len(self.known) > 1 else self.features
        mean, scatter = reference.mean(0), reference.std(0)
        unit = np.maximum(scatter, 1e-3 * max(float(scatter.max()), 1e-30))
        return ((features - mean) / unit / np.sqrt(features.shape[1])).astype(np.float32)


def seen_by(predictor: Predictor, batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities `(n, k)` and features `(n, d)` of a stream of checked images `(b, bands, H, W)`."""
    answers, features = [], []
    for images in batches:
        inputs, chi2 = predictor.see(images)
        answers.append(predictor.answers_seen(inputs, chi2).probabilities)
        features.append(predictor.features(inputs))
    if not answers:
        raise InputError("no image is left to choose from: the pool is labelled, or give a larger one")
    return np.concatenate(answers), np.concatenate(features)
