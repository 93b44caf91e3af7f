"""Maps beside the truth that a simulator knows: does a network look where the substructure has changed the image?

The truth of an image is what its substructure changed, `d = image - image without substructure`, and where the subhalos are. Every
pixel is of one of three regions: the *perturbation*, the fewest pixels that hold half of `sum d^2`; the *arcs*, what else is at
least a fifth as bright as the brightest pixel; *elsewhere*. Substructure shows on the arcs and hardly anywhere else, so a map that
only follows brightness does well against chance. The figure that it cannot get is `on_arcs`: among pixels of arcs and perturbation,
the probability that one of the perturbation has the larger value in the map (a ROC area; 0.5 is chance).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from darklens.evaluate.resampling import number
from darklens.explain.sanity import rank_correlation

HALF, BRIGHT = 0.5, 0.2
NEAR = 2.0
"""Pixels of what the network sees within which a map's maximum hits a subhalo."""
REGIONS = ("perturbation", "arcs", "elsewhere")
BOOTSTRAP = 2000


@dataclass(frozen=True)
class Truth:
    """What is true of B images, on the pixels of what the network sees.

    Args:
        difference: `(B, h, w)`, what the substructure changed; zero where there is none.
        smooth: `(B, h, w)`, the image without substructure, zero where the sky is empty.
        positions: B arrays `(m, 2)` of row and column of the subhalos that hold half of the mass in substructure.
        seen: `(B, h, w)`, the difference that it makes in what the network sees, where that is known: a network that sees the
            logarithm of an image is shown the faint outskirts of an arc as large as its peak.
    """

    difference: np.ndarray
    smooth: np.ndarray
    positions: tuple[np.ndarray, ...]
    seen: np.ndarray | None = None

    @property
    def disturbed(self) -> np.ndarray:
        """Which images have substructure that shows, `(B,)` bool."""
        return np.abs(self.difference).max((1, 2)) > 0

    def take(self, rows: np.ndarray) -> Truth:
        """Return the truth of some images."""
        seen = None if self.seen is None else self.seen[rows]
        return Truth(self.difference[rows], self.smooth[rows], tuple(self.positions[i] for i in rows), seen)


def regions(truth: Truth) -> np.ndarray:
    """Return `(B, h, w)` int: 0 perturbation, 1 arcs, 2 elsewhere, as in `REGIONS`."""
    squares = (truth.difference.astype(np.float64) ** 2).reshape(len(truth.difference), -1)
    order = np.argsort(-squares, axis=1, kind="stable")
    held = np.cumsum(np.take_along_axis(squares, order, 1), 1)
    before = np.concatenate([np.zeros((len(held), 1)), held[:, :-1]], 1)
    inside = np.zeros(squares.shape, bool)
    np.put_along_axis(inside, order, (before < HALF * held[:, -1:]) & (held[:, -1:] > 0), 1)
    bright = truth.smooth >= BRIGHT * truth.smooth.max((1, 2), keepdims=True)
    return np.where(inside.reshape(truth.difference.shape), 0, np.where(bright, 1, 2))


def truth_scores(maps: np.ndarray, truth: Truth) -> dict[str, np.ndarray]:
    """Return figures of maps `(B, h, w)` beside the truth, `(B,)` each, all of disturbed images.

    Returns:
        `pointing_subhalo` (the maximum is near a subhalo), `pointing_perturbation` (it is in the perturbation), `on_arcs` (see
        above), `correlation` (rank correlation with |d|), `correlation_seen` (with what the network sees of d, where that is
        known), and `share_REGION`, the part of the map's sum in each region.
    """
    where = regions(truth)
    n = len(maps)
    width = maps.shape[2]
    peak = maps.reshape(n, -1).argmax(1)
    rows, columns = peak // width, peak % width
    total = np.maximum(maps.sum((1, 2)), 1e-30)
    found = {
        "pointing_subhalo": np.array([_near(p, r, c) for p, r, c in zip(truth.positions, rows, columns, strict=True)], float),
        "pointing_perturbation": (where.reshape(n, -1)[np.arange(n), peak] == 0).astype(float),
        "on_arcs": np.array([_auc(m, w) for m, w in zip(maps, where, strict=True)]),
        "correlation": rank_correlation(maps, np.abs(truth.difference)),
    }
    if truth.seen is not None:
        found["correlation_seen"] = rank_correlation(maps, truth.seen)
    return found | {f"share_{name}": (maps * (where == k)).sum((1, 2)) / total for k, name in enumerate(REGIONS)}


def chance(truth: Truth) -> dict[str, np.ndarray]:
    """Return what a map without information reaches, `(B,)` each: areas of the regions, and of what is near subhalos."""
    where = regions(truth)
    y, x = np.mgrid[: where.shape[1], : where.shape[2]]
    near = [np.mean([_near(p, r, c) for r, c in zip(y.ravel(), x.ravel(), strict=True)]) for p in truth.positions]
    areas = {f"share_{name}": (where == k).mean((1, 2)) for k, name in enumerate(REGIONS)}
    half = {"on_arcs": np.full(len(where), 0.5), "correlation": np.zeros(len(where))}
    half |= {} if truth.seen is None else {"correlation_seen": np.zeros(len(where))}
    return {"pointing_subhalo": np.array(near), "pointing_perturbation": areas["share_perturbation"]} | half | areas


def mean_with_interval(values: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Return the mean of figures `(B,)` with its 95% bootstrap interval over images; those that are no numbers do not count."""
    values = values[np.isfinite(values)]
    if not len(values):
        return {"value": None, "low": None, "high": None, "n": 0}
    drawn = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAP, len(values)))
    return number(float(values.mean()), values[drawn].mean(1), len(values), 0.95)


def _near(positions: np.ndarray, row: int, column: int) -> bool:
    return bool(len(positions) and (np.hypot(positions[:, 0] - row, positions[:, 1] - column) <= NEAR).any())


def _auc(values: np.ndarray, where: np.ndarray) -> float:
    """Return the probability that a pixel of the perturbation is above one of the arcs; NaN where one of them has no pixels."""
    inside, beside = values[where == 0], values[where == 1]
    if not len(inside) or not len(beside):
        return float("nan")
    ranks = rankdata(np.concatenate([inside, beside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(beside)))
