"""Deletion and insertion: does the answer go when the pixels that a map calls important go, and come when they come?

Pixels are replaced by the baseline in the order of the map, the most important first (deletion), or put back into the baseline
in the same order (insertion); the probability of the explained class is followed (Petsiuk et al. 2018, arXiv:1806.07421). A good
map has a small area under the first curve and a large one under the second. What a map in random order reaches stands beside:
where the probability falls of itself under any deletion, no map can be told from any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from darklens.explain.attribution import Question

STEPS = 8
"""Points of the curves beyond the first."""


@dataclass(frozen=True)
class Curves:
    """Probabilities of the explained class.

    Args:
        fractions: `(s,)` of the pixels that have been deleted, or inserted.
        deletion: `(B, s)`.
        insertion: `(B, s)`.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> np.ndarray:
        """Area under each deletion curve, `(B,)`; smaller is better."""
        return np.trapezoid(self.deletion, self.fractions, axis=1)

    @property
    def insertion_area(self) -> np.ndarray:
        """Area under each insertion curve, `(B,)`; larger is better."""
        return np.trapezoid(self.insertion, self.fractions, axis=1)


def perturbation_curves(question: Question, maps: np.ndarray, steps: int = STEPS) -> Curves:
    """Return the curves of maps `(B, h, w)`; steps are denser where few pixels have gone: a disturbance is small."""
    fractions = np.linspace(0, 1, steps + 1) ** 2
    n, pixels = len(maps), maps[0].size
    order = torch.from_numpy(np.argsort(-maps.reshape(n, -1), axis=1, kind="stable").copy())
    rank = order.argsort(1).view(n, 1, *maps.shape[1:]).to(question.inputs.device)
    deleted: list[np.ndarray] = []
    inserted: list[np.ndarray] = []
    with torch.inference_mode():
        for fraction in fractions:
            gone = rank < round(fraction * pixels)
            for into, at, rest in ((deleted, question.baseline, question.inputs), (inserted, question.inputs, question.baseline)):
                into.append(question.probability(torch.where(gone, at, rest), question.targets).double().cpu().numpy())
    return Curves(fractions, np.stack(deleted, 1), np.stack(inserted, 1))
