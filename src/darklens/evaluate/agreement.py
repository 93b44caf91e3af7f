"""Do people who looked at the same images agree, beyond what chance would bring?

kappa = (P_o - P_e) / (1 - P_e), with P_o the agreement that was observed and P_e that of people who answer at random as often as
they did: 1 is full agreement, 0 what chance brings.

- Two people (Cohen 1960, Educ. Psychol. Meas. 20, 37): P_e = sum_c p_c q_c with the share of each answer of each person.
- Any number (Fleiss 1971, Psychol. Bull. 76, 378): P_o is the mean over images of the fraction of pairs of people who agree,
  P_e = sum_c p_c^2 with the shares of all answers together. Images may have different numbers of people; of one person's alone
  nothing is learned.

Intervals are those of a bootstrap over images, which are what varies when somebody vets again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from darklens.data.decisions import SKIP, Decision
from darklens.evaluate.resampling import number, resamples

SEED, N_BOOT = 0, 1000


def cohen_kappa(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> dict[str, Any]:
    """Return Cohen's kappa of two people.

    Args:
        a: `(n,)` answers of one.
        b: `(n,)` answers of the other about the same images.
        level: of the interval.

    Returns:
        `{"value", "low", "high", "n"}`, with None where both always give one and the same answer, or there is no image.
    """
    n = len(a)
    _, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    first, second = (np.eye(codes.max(initial=0) + 1)[codes.ravel()[part]] for part in (slice(n), slice(n, None)))
    same = (first * second).sum(1)

    def kappa(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(1)
        expected = ((weights @ first) * (weights @ second)).sum(1) / total**2
        return _kappa(weights @ same / total, expected)

    return _with_interval(kappa, n, level)


def fleiss_kappa(counts: np.ndarray, *, level: float = 0.95) -> dict[str, Any]:
    """Return Fleiss' kappa of any number of people.

    Args:
        counts: `(n, answers)` how many people gave each answer about each image.
        level: of the interval.

    Returns:
        `{"value", "low", "high", "n"}`; n counts the images that two people or more have answered.
    """
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts.sum(1) >= 2]
    people = counts.sum(1)
    agreeing = (counts * (counts - 1)).sum(1) / (people * (people - 1))

    def kappa(weights: np.ndarray) -> np.ndarray:
        shares = weights @ counts / (weights @ people)[:, None]
        return _kappa(weights @ agreeing / weights.sum(1), (shares**2).sum(1))

    return _with_interval(kappa, len(counts), level)


def agreement(decisions: Iterable[Decision], answers: Sequence[str]) -> dict[str, Any]:
    """Return how far people agree; who skipped an image has said nothing of it.

    Args:
        decisions: the last word of each person on each image.
        answers: what counts as an answer; decisions of another word are not looked at.

    Returns:
        `people` (name -> number of answers), `fleiss` (None below two people), `pairs` (of people with an image in common: a, b,
        their kappa and `same`, how often they gave one answer), `answers`, and `unanimous` of the images with two answers or more.
    """
    kept = [d for d in decisions if d.decision in answers and d.decision != SKIP]
    who, images = sorted({d.who for d in kept}), sorted({d.id for d in kept})
    row, column = ({name: i for i, name in enumerate(names)} for names in (who, images))
    codes = np.full((len(who), len(images)), -1)
    for decision in kept:
        codes[row[decision.who], column[decision.id]] = answers.index(decision.decision)
    return {
        "people": {name: int((codes[i] >= 0).sum()) for i, name in enumerate(who)},
        "answers": {name: int((codes == c).sum()) for c, name in enumerate(answers) if name != SKIP},
        "fleiss": fleiss_kappa(_counted(codes, len(answers))) if len(who) > 1 else None,
        "unanimous": _unanimous(_counted(codes, len(answers))),
        "pairs": [pair for i in range(len(who)) for j in range(i) if (pair := _pair(who, codes, j, i))],
    }


def _pair(who: Sequence[str], codes: np.ndarray, i: int, j: int) -> dict[str, Any] | None:
    both = (codes[i] >= 0) & (codes[j] >= 0)
    if not both.any():
        return None
    a, b = codes[i, both], codes[j, both]
    return {"a": who[i], "b": who[j], "kappa": cohen_kappa(a, b), "same": int((a == b).sum())}


def _counted(codes: np.ndarray, answers: int) -> np.ndarray:
    return np.stack([(codes == c).sum(0) for c in range(answers)], axis=1)


def _unanimous(counts: np.ndarray) -> dict[str, int]:
    """Return how many images have several answers, and how many of these have one and the same."""
    several = counts[counts.sum(1) >= 2]
    return {"images": len(several), "agreed": int((several.max(1, initial=0) == several.sum(1)).sum())}


def _kappa(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return kappa, NaN where chance alone would make everybody agree."""
    certain = expected > 1 - 1e-12
    return np.where(certain, np.nan, (observed - expected) / np.where(certain, 1, 1 - expected))


def _with_interval(kappa: Callable[[np.ndarray], np.ndarray], n: int, level: float) -> dict[str, Any]:
    if not n:
        return number(np.nan, np.empty(0), 0, level)
    spread = np.concatenate([kappa(weights) for weights in resamples(np.zeros(n), N_BOOT, SEED)])
    return number(float(kappa(np.ones((1, n)))[0]), spread, n, level)
