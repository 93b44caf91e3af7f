r"""Steps of chains through a density that is dear to evaluate and nearly Gaussian: about a Gaussian, and by way of a stand-in.

About a Gaussian of mean m and covariance C there are

- leaps, independent draws from a t distribution about m, whose tails are heavier than those of a posterior;
- preconditioned Crank-Nicolson steps (Cotter, Roberts, Stuart & White 2013, Stat. Sci. 28, 424),
  `x' = m + sqrt(1 - b^2) (x - m) + b C^(1/2) normal`, refused only for what the density has beyond the Gaussian;
- random walks, which know C but not m: without them chains would see nothing of a bent ridge beyond the Gaussian, and R-hat would
  not notice, all of them being blind alike.

Evaluations that were paid for say more than m and C. A Gaussian process through what ln density has beyond the Gaussian costs a
ten-thousandth of the density, and where this is smooth some hundred evaluations leave errors of a few tenths of ln density between
posterior samples. An errand is a chain of many steps through this stand-in whose end alone is proposed, and refused for what the
stand-in gets wrong (the surrogate transition of Liu 2001, Monte Carlo Strategies in Scientific Computing, section 9.4.3; Christen &
Fox 2005, J. Comp. Graph. Stat. 14, 795, for one step): exact whatever the stand-in is, and nearly independent where it is good.
The process is written out here because scikit-learn's takes twice as long for one point, and an errand asks for thirty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.spatial.distance import cdist

from darklens.infer.gaussian import Gaussian, LogDensity

LEAPS = {"leap": 0.4, "glide": 0.3, "walk": 0.3}
"""Kinds of steps about a Gaussian, with how often each is tried."""
ERRANDS = {"errand": 0.5, "leap": 0.15, "glide": 0.1, "walk": 0.25}
"""The same where there is a stand-in."""
ERRAND = 30
"""Steps through the stand-in."""
TAILS = 5.0
"""Degrees of freedom of the t distribution of which leaps are drawn, at least; else as many as parameters, or hardly a leap of many
parameters would have the length of a draw."""
GLIDE = 0.5
"""Length b of a Crank-Nicolson step."""
WALK, PACES = 2.38, (1.0, 0.3)
"""Scale of a random walk, in standard deviations over the root of the number of parameters (Roberts & Rosenthal 2001, Stat. Sci.
16, 351), and factors of it."""
MOST = 1500
"""Evaluations that a stand-in goes through: its price grows with them."""
DEPTH = 10.0
"""And no farther below the best one, in ln density beyond what is typical of a Gaussian: far slopes say nothing of the top."""
REACHES = 1.0, 1.7, 2.7, 4.0, 8.0
"""Correlation lengths of the Gaussian process that are tried, in standard deviations times the root of the number of parameters,
which is how far apart draws are."""
ROUGHNESS = 1e-4, 1e-3, 1e-2, 1e-1
"""Its noise, in units of its amplitude, likewise: what a process of one length cannot follow."""
TRIED = 500
"""Evaluations by which both are chosen."""
SURPRISED = 1000
"""Samples at most that are asked for how well the stand-in knew them."""


@dataclass(frozen=True, eq=False)
class StandIn:
    """A Gaussian, and a Gaussian process through what a density has beyond it.

    Args:
        gaussian: in whose standard deviations distances count.
        places: `(n, p)` of the evaluations, in those units.
        weights: `(n,)` of the kernel at each place.
        reach: correlation length.
        middle: mean of the process, which it comes back to far from all places.
    """

    gaussian: Gaussian
    places: np.ndarray
    weights: np.ndarray
    reach: float
    middle: float

    @classmethod
    def through(cls, gaussian: Gaussian, vectors: np.ndarray, values: np.ndarray) -> StandIn | None:
        """Return the stand-in whose length and noise make the evaluations most likely; None where they are too few.

        Args:
            gaussian: the reference.
            vectors: `(n, p)` where the density was evaluated.
            values: `(n,)` its logarithm, minus infinity outside its support.
        """
        near = values > values.max() - 1.5 * vectors.shape[1] - DEPTH
        if near.sum() < 2 * vectors.shape[1]:
            return None
        kept = np.flatnonzero(near)[np.linspace(0, near.sum() - 1, min(MOST, near.sum())).round().astype(int)]  # of all times
        vectors, values = vectors[kept], values[kept]
        places = (vectors - gaussian.mean) @ gaussian.inverse.T
        beyond = values + 0.5 * (places**2).sum(1)
        middle = float(np.median(beyond))
        square = cdist(places, places, "sqeuclidean") / places.shape[1]
        few = slice(None, None, -(-len(places) // TRIED))
        tried = [(reach, rough) for reach in REACHES for rough in ROUGHNESS]
        reach, rough = max(tried, key=lambda pair: _solved(square[few, few], beyond[few] - middle, *pair)[0])
        weights = _solved(square, beyond - middle, reach, rough)[1]
        return cls(gaussian, places, weights, reach * math.sqrt(places.shape[1]), middle)

    def log_density(self, vector: np.ndarray) -> float:
        """Return the logarithm of the stand-in's density."""
        place = self.gaussian.inverse @ (vector - self.gaussian.mean)
        kernel = np.exp(-0.5 / self.reach**2 * ((self.places - place) ** 2).sum(1))
        return self.middle + float(kernel @ self.weights) - 0.5 * float(place @ place)

    def surprise(self, vectors: np.ndarray, values: np.ndarray) -> float:
        """Return the scatter of ln density about the stand-in, of at most a thousand evaluations `(n, p)` and `(n,)`."""
        few = slice(None, None, -(-len(values) // SURPRISED))
        return float(np.std([v - self.log_density(x) for x, v in zip(vectors[few], values[few], strict=True)]))


def _solved(square: np.ndarray, values: np.ndarray, reach: float, rough: float) -> tuple[float, np.ndarray]:
    """Return ln likelihood of values `(n,)` under a Gaussian process of the amplitude that suits them best, and its weights `(n,)`.

    Args:
        square: `(n, n)` squared distances.
        values: less their middle.
        reach: correlation length.
        rough: noise in units of the amplitude.
    """
    kernel = np.exp(-0.5 * square / reach**2)
    kernel[np.diag_indices_from(kernel)] += rough**2
    try:
        factor = cho_factor(kernel, lower=True, check_finite=False)
    except LinAlgError:
        return -math.inf, np.zeros(len(values))
    weights = cho_solve(factor, values, check_finite=False)
    variance = max(float(values @ weights) / len(values), 1e-300)
    return -0.5 * len(values) * math.log(variance) - float(np.log(np.diag(factor[0])).sum()), weights


@dataclass(frozen=True, eq=False)
class Walk:
    """Where a chain went.

    Args:
        states: `(n, p)`.
        values: `(n,)` ln density.
        taken: steps that were not refused.
    """

    states: np.ndarray
    values: np.ndarray
    taken: int

    @property
    def end(self) -> tuple[np.ndarray, float]:
        """The last state, and ln density there."""
        return self.states[-1], float(self.values[-1])


def walk(
    density: LogDensity,
    gaussian: Gaussian,
    stand_in: StandIn | None,
    here: np.ndarray,
    value: float,
    steps: int,
    generator: np.random.Generator,
    heat: float = 1.0,
) -> Walk:
    """Return a chain of steps about a Gaussian, with a stand-in also by way of it.

    Args:
        density: logarithm of the density.
        gaussian: of the steps.
        stand_in: for the density, or None.
        here: `(p,)` first state, which is not returned.
        value: ln density there.
        steps: how many.
        generator: of everything random.
        heat: temperature: the chain goes through the density to the power 1/heat, whose Gaussian is that much wider.
    """
    kinds = LEAPS if stand_in is None else ERRANDS
    tried = generator.choice(len(kinds), size=steps, p=list(kinds.values()))
    names, states, values, taken = list(kinds), [], [], 0
    for kind in tried:
        if names[kind] == "errand":
            assert stand_in is not None
            start = stand_in.log_density(here)
            errand = walk(stand_in.log_density, gaussian, None, here, start, ERRAND, generator, heat)
            there, gauge = errand.states[-1], start - float(errand.values[-1])
        else:
            there, gauge = _step(gaussian, names[kind], here, generator)
            gauge *= heat
        new = density(there)
        if not math.isfinite(value) or math.log(generator.random()) < (new - value + gauge) / heat:
            here, value, taken = there, new, taken + 1
        states.append(here)
        values.append(value)
    return Walk(np.array(states), np.array(values), taken)


def _step(gaussian: Gaussian, kind: str, here: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return where a step leads, and ln of the odds of its way back against its way there."""
    p, normal = len(here), gaussian.root @ generator.standard_normal(len(here))
    if kind == "leap":
        tails = max(TAILS, p)
        there = gaussian.mean + normal * math.sqrt(tails / generator.chisquare(tails))
        far, near = (0.5 * (tails + p) * math.log1p(gaussian.square(place) / tails) for place in (there, here))
        return there, far - near
    if kind == "glide":
        there = gaussian.mean + math.sqrt(1 - GLIDE**2) * (here - gaussian.mean) + GLIDE * normal
        return there, 0.5 * (gaussian.square(there) - gaussian.square(here))
    return here + WALK * generator.choice(PACES) / math.sqrt(p) * normal, 0.0
