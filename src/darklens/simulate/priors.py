"""Priors over one number each, made to be read one per line in a population."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class Prior(ABC):
    """A distribution over one real number."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int | None = None) -> float | np.ndarray:
        """Draw one number, or `size` independent ones."""


@dataclass(frozen=True)
class Fixed(Prior):
    """Always the same value."""

    value: float

    def draw(self, rng: np.random.Generator, size: int | None = None) -> float | np.ndarray:
        """Return the value."""
        return self.value if size is None else np.full(size, self.value)


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform between `low` and `high`."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, size: int | None = None) -> float | np.ndarray:
        """Draw uniformly."""
        return rng.uniform(self.low, self.high, size)


@dataclass(frozen=True)
class Quantiles(Prior):
    """A distribution given by its quantiles, uniform between neighbours (inverse transform of a piecewise-linear CDF)."""

    fractions: tuple[float, ...]
    values: tuple[float, ...]

    def draw(self, rng: np.random.Generator, size: int | None = None) -> float | np.ndarray:
        """Draw by inverse transform."""
        return np.interp(rng.random(size), self.fractions, self.values)


@dataclass(frozen=True)
class PowerLaw(Prior):
    """`dN/dm ~ m^slope` between `low` and `high` (inverse transform; slope other than -1)."""

    slope: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator, size: int | None = None) -> float | np.ndarray:
        """Draw by inverse transform."""
        k = self.slope + 1.0
        low, high = self.low**k, self.high**k
        return (low + (high - low) * rng.random(size)) ** (1.0 / k)

    def mean(self) -> float:
        """Return the analytic mean."""
        k, j = self.slope + 1.0, self.slope + 2.0
        return k / j * (self.high**j - self.low**j) / (self.high**k - self.low**k)


ANGLE = Uniform(0.0, 2.0 * math.pi)
"""Any direction, in radians."""
