r"""Ways of choosing the images whose labels are worth asking a person for.

- **random**: every image with equal chance; what the others have to beat.
- **uncertainty**: the smallest margin between the two most probable classes (Scheffer et al. 2001; Settles 2009, sec. 3.1); with
  two classes, the probabilities nearest 1/2.
- **diversity**: k-center greedy, the image farthest in feature space from all that are known or chosen (Sener & Savarese 2018,
  arXiv:1708.00489, algorithm 1).
- **expected-gain**: the information that a label is expected to give on the weights :math:`w` of the last layer, in nats,

  .. math:: \Delta = \tfrac12 \ln(1 + \lambda(x)\, \phi^T \Sigma \phi), \quad
            \Sigma^{-1} = 1 + \sum_{known} \lambda\, \phi \phi^T, \quad \lambda = \tfrac12 (1 - \sum_c p_c^2)

  with features :math:`\phi` (MacKay 1992, Neural Computation 4, 590, in the Laplace approximation of the last layer,
  arXiv:2002.10118; the mutual information of BALD, arXiv:1112.5745, for a Gaussian posterior). For two classes
  :math:`\lambda = p(1-p)` is exact; for more it is their mean curvature. The gain does not depend on the answer, so that a batch is
  chosen one by one, each choice shrinking :math:`\Sigma`: no two images for the same lesson.
- **badge**: k-means++ on the gradients that the model's own answers would give (Ash et al. 2020, arXiv:1906.03671): large
  gradients, in different directions.
- **likely**: the most probable members of the last class. One positive among a hundred says more than ninety-nine negatives, and
  each is a discovery besides (greedy search of rare actives, Warmuth et al. 2003).
- **mixed**: in turns from likely, uncertainty, expected-gain and diversity.

Every strategy returns distinct images, the most wanted first, and a score of each (larger is more wanted).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError, unknown
from darklens.train.active.candidates import Candidates

Chosen = tuple[np.ndarray, np.ndarray]
"""Positions of chosen candidates, and a score each."""


@dataclass(frozen=True)
class Pick:
    """An image to ask about.

    Args:
        index: position among the candidates.
        score: how much it is wanted, by the strategy's own measure.
        why: in a few words.
    """

    index: int
    score: float
    why: str


def pick(strategy: str, n: int, candidates: Candidates, rng: np.random.Generator) -> list[Pick]:
    """Choose images to be labelled.

    Args:
        strategy: one of `STRATEGIES`.
        n: how many; all candidates where there are fewer.
        candidates: what to choose from.
        rng: of the random parts.

    Raises:
        InputError: an unknown strategy, or less than one image.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if n < 1:
        raise InputError(f"{n} images are too few to ask about: give --n at least 1")
    n = min(n, len(candidates))
    if strategy == "mixed":
        return _in_turns(n, candidates, rng)
    return _named(strategy, SINGLE[strategy].choose(candidates, n, rng), candidates)


def randomly(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose with equal chance; every score is 0."""
    return rng.permutation(len(candidates))[:n], np.zeros(n)


def most_uncertain(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose the smallest margins; the score is one minus the margin."""
    order = np.argsort(candidates.margin, kind="stable")[:n]
    return order, 1 - candidates.margin[order]


def most_likely(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose the most probable members of the last class; the score is that probability."""
    wanted = candidates.probabilities[:, -1]
    order = np.argsort(-wanted, kind="stable")[:n]
    return order, wanted[order]


def farthest(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose by k-center greedy; the score is the distance to the nearest known or chosen image, in units of the scatter."""
    points = candidates.scaled
    anchors = candidates.anchors if len(candidates.anchors) else points.mean(0, keepdims=True)
    nearest = _nearest(points, anchors)
    chosen, scores = np.empty(n, np.int64), np.empty(n)
    for i in range(n):
        chosen[i] = k = int(np.argmax(nearest))
        scores[i] = np.sqrt(max(float(nearest[k]), 0.0))
        nearest = np.minimum(nearest, ((points - points[k]) ** 2).sum(1))
        nearest[chosen[: i + 1]] = -1  # copies of an image are at distance 0 and may follow, an image itself may not
    return chosen, scores


def _nearest(points: np.ndarray, anchors: np.ndarray, block: int = 4096) -> np.ndarray:
    """Return the squared distance `(n,)` of points `(n, d)` to the nearest of anchors `(m, d)`."""
    norms = (anchors**2).sum(1)
    parts = (points[i : i + block] for i in range(0, len(points), block))
    return np.concatenate([np.maximum(((p**2).sum(1)[:, None] - 2 * p @ anchors.T + norms).min(1), 0) for p in parts])


def most_informative(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose by expected information gain on the last layer, one by one; the score is the gain in nats."""
    weights, features = _curvature(candidates.probabilities), _with_bias(candidates.scaled)
    anchors = _with_bias(candidates.anchors) * np.sqrt(_curvature(candidates.anchor_probabilities))[:, None]
    represented = len(candidates.known) / max(len(anchors), 1)  # each anchor stands for so many known images
    covariance = np.linalg.inv(np.eye(features.shape[1]) + represented * anchors.T @ anchors)
    variance = ((features @ covariance) * features).sum(1)
    chosen, scores = np.empty(n, np.int64), np.empty(n)
    free = np.ones(len(features), bool)
    for i in range(n):
        gain = np.where(free, 0.5 * np.log1p(weights * np.maximum(variance, 0)), -np.inf)
        chosen[i] = k = int(np.argmax(gain))
        scores[i], free[k] = gain[k], False
        step = covariance @ features[k] * np.sqrt(weights[k] / (1 + weights[k] * max(variance[k], 0.0)))
        covariance -= np.outer(step, step)
        variance -= (features @ step) ** 2
    return chosen, scores


def _curvature(probabilities: np.ndarray) -> np.ndarray:
    return 0.5 * (1 - (probabilities**2).sum(1))


def _with_bias(features: np.ndarray) -> np.ndarray:
    scale = np.sqrt(features.shape[1])  # back to unit scatter of each feature
    return np.concatenate([features * scale, np.ones((len(features), 1))], axis=1).astype(np.float64)


def badge(candidates: Candidates, n: int, rng: np.random.Generator) -> Chosen:
    """Choose by k-means++ on gradients of the last layer; the score is the gradient's norm."""
    residuals = candidates.probabilities.copy()
    residuals[np.arange(len(residuals)), residuals.argmax(1)] -= 1
    points = _with_bias(candidates.scaled)
    squares = (residuals**2).sum(1) * (points**2).sum(1)  # of the gradient, the outer product of both
    chosen, free = np.empty(n, np.int64), np.ones(len(points), bool)
    nearest = squares.copy()
    for i in range(n):
        weights = np.where(free, np.maximum(nearest, 0), 0)
        if weights.sum() <= 0:  # all that is left are copies
            weights = free.astype(float)
        chosen[i] = k = int(np.argmax(weights)) if i == 0 else int(rng.choice(len(points), p=weights / weights.sum()))
        free[k] = False
        distance = squares + squares[k] - 2 * (residuals @ residuals[k]) * (points @ points[k])
        nearest = distance if i == 0 else np.minimum(nearest, distance)
    return chosen, np.sqrt(squares[chosen])


def _in_turns(n: int, candidates: Candidates, rng: np.random.Generator) -> list[Pick]:
    lists = {name: iter(_named(name, SINGLE[name].choose(candidates, n, rng), candidates)) for name in TURNS}
    found: dict[int, Pick] = {}
    while len(found) < n:
        for one in lists.values():
            if len(found) < n and (new := next((p for p in one if p.index not in found), None)):
                found[new.index] = new
    return list(found.values())


def _named(name: str, chosen: Chosen, candidates: Candidates) -> list[Pick]:
    say = SINGLE[name].why
    answers = candidates.probabilities[:, -1]
    of = f"P({candidates.classes[-1]}) = "
    return [Pick(int(k), float(s), f"{name}: {say.format(s)}; {of}{answers[k]:.3f}") for k, s in zip(*chosen, strict=True)]


@dataclass(frozen=True)
class Strategy:
    """A way of choosing.

    Args:
        choose: candidates, how many, a generator -> positions and scores.
        why: what the score says of an image.
        summary: one line, with its source.
    """

    choose: Callable[[Candidates, int, np.random.Generator], Chosen]
    why: str
    summary: str


SINGLE = {
    "uncertainty": Strategy(most_uncertain, "1 - margin {:.3f}", "the smallest margin between two classes (Settles 2009)"),
    "diversity": Strategy(farthest, "distance {:.2f}", "far from all that is known: k-center greedy (arXiv:1708.00489)"),
    "expected-gain": Strategy(most_informative, "{:.3g} nats", "most information on the last layer (MacKay 1992; arXiv:1112.5745)"),
    "badge": Strategy(badge, "gradient {:.3g}", "large gradients in different directions (arXiv:1906.03671)"),
    "likely": Strategy(most_likely, "score {:.3f}", "the most probable members of the last class (Warmuth et al. 2003)"),
    "random": Strategy(randomly, "drawn by lot", "every image with equal chance: what the others have to beat"),
}
TURNS = ("likely", "uncertainty", "expected-gain", "diversity")
"""What `mixed` takes from, in this order."""
STRATEGIES = {name: one.summary for name, one in SINGLE.items()} | {"mixed": f"in turns: {', '.join(TURNS)}"}
"""The strategies, each in a line."""
