"""Look long enough and noise looks like something: the chance that the best place of a clump-free image is as good as this one.

Over a field of many places the largest significance z of noise exceeds u with probability `1 - exp(-c u exp(-u^2/2))`: the expected
number of places where a smooth Gaussian field in two dimensions rises above u (Adler & Taylor 2007; Vitells & Gross 2011,
Astropart. Phys. 35, 230, have the whole series). The one constant c is measured on simulated images of noise, on the higher half of
their maxima. Beyond what they can say themselves, one in as many as there are, the form is extrapolated, and the number of those
that exceed u is stated beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import kstest, norm

from darklens.errors import InputError

FEWEST = 50
"""Simulations below which a tail would be a guess."""


@dataclass(frozen=True)
class LookElsewhere:
    """The distribution of the largest significance where there is no clump.

    Args:
        maxima: `(D,)` of simulated images without clump.

    Raises:
        InputError: too few.
    """

    maxima: np.ndarray

    def __post_init__(self) -> None:
        check_simulations(len(self.maxima))

    @property
    def constant(self) -> float:
        """The constant c, by maximum likelihood on the higher half: `c u exp(-u^2/2)` is exponential, censored at its median."""
        tail = np.sort(_rate(self.maxima))
        k = len(tail) // 2
        return k / (tail[:k].sum() + (len(tail) - k) * tail[k - 1])

    def false_alarm(self, significance: float) -> float:
        """Return the probability that noise alone reaches a significance somewhere."""
        if significance <= 1:
            return 1.0
        return float(-np.expm1(-self.constant * _rate(significance)))

    def exceeded(self, significance: float) -> int:
        """Return how many of the simulations reach it."""
        return int((self.maxima >= significance).sum())

    def threshold(self, false_alarm: float) -> float:
        """Return the significance that noise alone reaches with this probability.

        Raises:
            InputError: not a probability between 0 and 1/2.
        """
        check_rate(false_alarm)
        return float(brentq(lambda u: self.constant * _rate(u) + np.log1p(-false_alarm), 1.0, 40.0))

    def as_dict(self) -> dict[str, Any]:
        """Return what was measured; `ks` is the p value of the form on the higher half of the simulations."""
        upper = np.sort(self.maxima)[len(self.maxima) // 2 :]
        median = upper[0]

        def below(u: np.ndarray) -> np.ndarray:
            p, cut = np.exp(-self.constant * _rate(u)), np.exp(-self.constant * _rate(median))
            return (p - cut) / (1 - cut)

        return {
            "simulations": len(self.maxima),
            "constant": self.constant,
            "median": float(np.median(self.maxima)),
            "largest": float(self.maxima.max()),
            "ks": float(kstest(upper, below).pvalue),
        }


def check_simulations(count: int) -> None:
    """Refuse a number of simulations that says nothing about a tail.

    Raises:
        InputError: too few.
    """
    if count < FEWEST:
        raise InputError(f"{count} simulations without clump: a false-alarm rate needs at least {FEWEST}; give more --simulations")


def check_rate(false_alarm: float) -> None:
    """Refuse what is no rate of false alarms.

    Raises:
        InputError: not a probability between 0 and 1/2.
    """
    if not 0 < false_alarm <= 0.5:
        raise InputError(f"false-alarm rate {false_alarm:g} is outside 0 to 0.5: give for example 0.01")


def in_sigma(probability: float) -> float:
    """Return the one-sided significance of a probability: 0 from 1/2 on, at most 38, where numbers end."""
    return float(np.clip(norm.isf(probability), 0.0, 38.0))


def _rate(u: np.ndarray | float) -> np.ndarray | float:
    return u * np.exp(-0.5 * np.square(u))
