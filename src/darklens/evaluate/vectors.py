"""Vectors that a network makes of images: what is near what, what a line through them can tell apart, and a map of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from darklens.errors import InputError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FEWEST = 5
"""Vectors from which on a map, or a deviation, says something."""
MOST = 5000
"""Vectors of a map; t-SNE of more takes minutes."""
DIRECTIONS = 50
"""Principal components that t-SNE starts from, as its authors did (van der Maaten & Hinton 2008, sect. 4.2)."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisations of which cross-validation chooses."""
FOLDS = 5


class Scale:
    """Mean and deviation of each component, in whose units vectors are compared: otherwise one loud component decides.

    Args:
        vectors: `(n, d)` to learn them from.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.mean = vectors.mean(0)
        self.deviation = np.maximum(vectors.std(0), 1e-6 * max(float(np.abs(vectors).max(initial=0)), 1e-30))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors `(m, d)` with mean 0 and deviation 1 where they were learned."""
        return ((vectors - self.mean) / self.deviation).astype(np.float32)


def nearest(query: np.ndarray, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions `(k,)` of the vectors most like a query, nearest first, and their cosine similarities.

    Args:
        query: `(d,)`.
        vectors: `(n, d)`; mean and deviation of their components are those that all are compared in.
        count: how many; fewer where there are not as many.
    """
    scale = Scale(vectors)
    unit = _unit(scale(vectors))
    likeness = unit @ _unit(scale(query[None]))[0]
    order = np.argsort(-likeness, kind="stable")[:count]
    return order, likeness[order]


def linear_probe(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    """Return probabilities `(m, classes)` of other vectors by a logistic regression on labelled ones, `fitted_probe`.

    Args:
        vectors: `(n, d)`.
        labels: `(n,)` class indices.
        others: `(m, d)`.
        classes: how many there are; one that has no label gets probability 0.
        seed: of the folds.

    Raises:
        InputError: fewer than two classes have labels.
    """
    scale, probe = fitted_probe(vectors, labels, seed)
    found = np.zeros((len(others), classes))
    found[:, probe.classes_] = probe.predict_proba(scale(others))
    return found


def fitted_probe(vectors: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[Scale, LogisticRegression]:
    """Return a logistic regression on vectors, and the units of their components that it was fitted in.

    The regularisation is chosen by cross-validation, where each class has at least two.

    Args:
        vectors: `(n, d)`.
        labels: `(n,)` class indices.
        seed: of the folds.

    Raises:
        InputError: fewer than two classes have labels.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2:
        raise InputError(f"{len(labels)} labels are of {len(present)} class: a probe needs at least 2 classes")
    scale, folds = Scale(vectors), min(FOLDS, int(counts.min()))
    probe = LogisticRegression(C=0.1, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the regularisation is what matters, not the last digit
        if folds > 1:
            parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
            probe = GridSearchCV(probe, {"C": STRENGTHS}, cv=parts, scoring="neg_log_loss")
        probe.fit(scale(vectors), labels)
    return scale, getattr(probe, "best_estimator_", probe)


def neighbour_vote(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int, count: int = 10) -> np.ndarray:
    """Return probabilities `(m, classes)` of other vectors: the share of each class among their nearest labelled ones.

    Args:
        vectors: `(n, d)`.
        labels: `(n,)` class indices.
        others: `(m, d)`.
        classes: how many there are.
        count: neighbours that vote, each with one more than its cosine similarity; half the smallest class at most.
    """
    scale = Scale(vectors)
    known = _unit(scale(vectors))
    votes = np.eye(classes)[labels]
    count = max(1, min(count, int(np.unique(labels, return_counts=True)[1].min() + 1) // 2))
    found = np.empty((len(others), classes))
    for start in range(0, len(others), 512):
        likeness = _unit(scale(others[start : start + 512])) @ known.T
        near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        weight = 1 + np.take_along_axis(likeness, near, 1) + 1e-6
        found[start : start + 512] = (votes[near] * weight[..., None]).sum(1) / weight.sum(1, keepdims=True)
    return found


def ridge(vectors: np.ndarray, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return numbers `(m,)` for other vectors by linear regression on some `(n, d)` with known values, penalised as suits those."""
    from sklearn.linear_model import RidgeCV

    scale = Scale(vectors)
    return RidgeCV(np.logspace(-1, 5, 13)).fit(scale(vectors), values).predict(scale(others))


def effective_rank(vectors: np.ndarray) -> float:
    """Return how many directions vectors `(n, d)` really use: exp of the entropy of the principal axes' shares of variance.

    1 when all lie on a line, d for a sphere (Roy & Vetterli 2007, EUSIPCO, with variances for singular values).
    """
    variance = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False).astype(np.float64) ** 2
    share = variance[variance > 0] / max(variance.sum(), 1e-300)
    return float(np.exp(-(share * np.log(share)).sum())) if share.size else 1.0


def flat_map(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return places `(n, 2)` at which neighbours of vectors `(n, d)` stay neighbours, by t-SNE (van der Maaten & Hinton 2008).

    Raises:
        InputError: fewer than 5 vectors, or more than 5,000.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    if not FEWEST <= n <= MOST:
        raise InputError(f"a map of {n} vectors cannot be drawn: give {FEWEST} to {MOST:,} images")
    scaled = Scale(vectors)(vectors)
    least = min(DIRECTIONS, n, scaled.shape[1])
    if least < scaled.shape[1]:
        scaled = PCA(least, random_state=seed).fit_transform(scaled)
    perplexity = min(30.0, (n - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
