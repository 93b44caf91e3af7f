"""Parameters between bounds as numbers without any, in which a posterior is nearly Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

OUTERMOST = 2.5
"""Largest normal score of an optimum: one beyond lies at the end of its range."""
FLAT = 1e3
"""Width of a Gaussian that is flat between bounds, in units of their distance."""
STRAIGHT = 7.0
"""Widths to either bound beyond which scores are values in units of the width."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Parameters as normal scores of a Gaussian that ends at their bounds; of the prior, which is uniform, to begin with.

    Scores have no bounds. Those of the prior are Gaussian where the pixels say nothing. Where they say a parameter they are almost
    straight; but a posterior that piles up at a bound has a steep side and a long tail among them, in which chains get stuck, as
    the shape of faint light often does. Scores of a Gaussian that follows the posterior, and ends at the bound, are Gaussian in
    all three cases.

    Args:
        low: `(p,)` bounds.
        high: likewise.
        middle: `(p,)` of the Gaussian, which may lie beyond a bound.
        width: `(p,)` its standard deviation before it is cut off.
    """

    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray
    width: np.ndarray

    @classmethod
    def uniform(cls, low: np.ndarray, high: np.ndarray) -> Scores:
        """Return the scores of a prior that is uniform between bounds."""
        return cls(low, high, 0.5 * (low + high), FLAT * (high - low))

    def following(self, mean: np.ndarray, deviation: np.ndarray) -> Scores:
        """Return scores of Gaussians whose logarithm has the slope and the curvature that a posterior has at its mean.

        Args:
            mean: `(p,)` of a posterior that is Gaussian among these scores of a uniform prior.
            deviation: `(p,)` likewise.
        """
        rate = self.slopes(mean)  # ln p of values is that of scores plus half their square
        slope, curvature = mean / rate, (1 / deviation**2 - 1 - mean**2) / rate**2
        width = np.minimum(1 / np.sqrt(np.maximum(curvature, 1e-300)), FLAT * (self.high - self.low))
        slope = np.where(curvature * (self.high - self.low) ** 2 > 1, slope, 0.0)  # else there is hardly a Gaussian
        width = np.where(curvature * (self.high - self.low) ** 2 > 1, width, FLAT * (self.high - self.low))
        return Scores(self.low, self.high, self.values(mean) + slope * width**2, width)

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return scores `(p,)`, at most `OUTERMOST` from the middle where bounds are near."""
        place = (values - self.middle) / self.width
        cut = stats.truncnorm.cdf(np.clip(place, *self._ends), *self._ends)
        return np.where(self._straight, place, np.clip(ndtri(cut), -OUTERMOST, OUTERMOST))

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Return parameters `(..., p)`, no farther than the bounds."""
        return np.clip(self.middle + self.width * self._places(scores), self.low, self.high)

    def slopes(self, scores: np.ndarray) -> np.ndarray:
        """Return how parameters change with their scores, `(p,)`."""
        return self.width * self._rates(scores)

    def log_prior(self, scores: np.ndarray) -> Any:
        """Return the logarithm of the prior's density `(...)`, up to a constant."""
        return 0.5 * (self._places(scores) ** 2 - scores**2).sum(-1)

    def log_prior_slopes(self, scores: np.ndarray) -> np.ndarray:
        """Return its derivatives, `(p,)`."""
        return self._places(scores) * self._rates(scores) - scores

    @property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        return (self.low - self.middle) / self.width, (self.high - self.middle) / self.width

    @property
    def _straight(self) -> np.ndarray:
        low, high = self._ends
        return (low < -STRAIGHT) & (high > STRAIGHT)

    def _places(self, scores: np.ndarray) -> np.ndarray:
        """Return places `(..., p)` in widths of the Gaussian."""
        return np.where(self._straight, scores, stats.truncnorm.ppf(ndtr(scores), *self._ends))

    def _rates(self, scores: np.ndarray) -> np.ndarray:
        """Return how places change with scores."""
        place = self._places(scores)
        density = stats.truncnorm.pdf(place, *self._ends)
        normal = np.exp(-0.5 * scores**2) / math.sqrt(2 * math.pi)
        return np.where(self._straight, 1.0, normal / np.maximum(density, 1e-300))
