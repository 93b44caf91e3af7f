"""Priors over one number each, made to be read one per line in a population."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np

from darklens.errors import InputError
from darklens.simulate.row_draws import RowDraws

Randoms: TypeAlias = np.random.Generator | RowDraws
"""Where random numbers come from: a numpy generator gives one at a time, `RowDraws` one of each row, `(B,)`."""
Drawn: TypeAlias = Any
"""A float or an array; the signature of `Prior.draw` tells which."""


class Prior(ABC):
    """A distribution over one real number."""

    @overload
    @abstractmethod
    def draw(self, rng: np.random.Generator, size: None = None) -> float: ...

    @overload
    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray: ...

    @overload
    @abstractmethod
    def draw(self, rng: RowDraws, size: int | None = None) -> np.ndarray: ...

    @abstractmethod
    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Draw one number, or `size` independent ones; of each row where they are drawn for many."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """The least and the largest value."""


@dataclass(frozen=True)
class Fixed(Prior):
    """Always the same value."""

    value: float

    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Return the value."""
        shape = (*((len(rng),) if isinstance(rng, RowDraws) else ()), *(() if size is None else (size,)))
        return np.full(shape, self.value) if shape else self.value

    @property
    def support(self) -> tuple[float, float]:
        """The value, twice."""
        return self.value, self.value


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform between `low` and `high`.

    Raises:
        InputError: the limits are not in order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise InputError(f"uniform between {self.low:g} and {self.high:g}: the lower limit must not be above the upper")

    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Draw uniformly."""
        return rng.uniform(self.low, self.high, size)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest value."""
        return self.low, self.high


@dataclass(frozen=True)
class Quantiles(Prior):
    """A distribution given by its quantiles, uniform between neighbours (inverse transform of a piecewise-linear CDF)."""

    fractions: tuple[float, ...]
    values: tuple[float, ...]

    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Draw by inverse transform."""
        return np.interp(rng.random(size), self.fractions, self.values)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest value."""
        return self.values[0], self.values[-1]


@dataclass(frozen=True)
class PowerLaw(Prior):
    """`dN/dm ~ m^slope` between `low` and `high` (inverse transform; slope other than -1).

    Raises:
        InputError: the limits are not in order, or the slope is -1.
    """

    slope: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise InputError(
                f"power law between {self.low:g} and {self.high:g}: the lower limit must be 0 or more and below the upper"
            )
        if self.slope == -1:
            raise InputError("power law of slope -1, which has no inverse in this form: give -0.999 or -1.001")

    def draw(self, rng: Randoms, size: int | None = None) -> Drawn:
        """Draw by inverse transform."""
        k = self.slope + 1.0
        low, high = self.low**k, self.high**k
        return (low + (high - low) * rng.random(size)) ** (1.0 / k)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest value."""
        return self.low, self.high

    def mean(self) -> float:
        """Return the analytic mean."""
        k, j = self.slope + 1.0, self.slope + 2.0
        if j == 0:
            return k * math.log(self.high / self.low) / (self.high**k - self.low**k)
        return k / j * (self.high**j - self.low**j) / (self.high**k - self.low**k)


def check_support(name: str, prior: Prior, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Refuse a prior that reaches out of the range of its parameter.

    Raises:
        InputError: it does.
    """
    least, most = prior.support
    if least < low or most > high or (open_low and least == low):
        limit = f"{'above' if open_low else 'from'} {low:g}" + ("" if high == math.inf else f" to {high:g}")
        raise InputError(f"prior of {name} reaches from {least:g} to {most:g}: {name} must be {limit}; narrow the prior")


ANGLE = Uniform(0.0, 2.0 * math.pi)
"""Any direction, in radians."""
