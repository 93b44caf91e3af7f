r"""What a set of lenses says about the population that they come from: hierarchical inference on posteriors of single lenses.

A run's posteriors were learnt under a uniform prior p0. Of lenses i with draws f_is, the population `p(f | mu, sigma)`, a Gaussian
cut off at the ends of the prior, has the likelihood (Hogg, Myers & Bovy 2010, arXiv:1008.4146, eq. 9; Wagner-Carena et al. 2023,
arXiv:2203.00690)

    L(mu, sigma) = prod_i 1/S sum_s p(f_is | mu, sigma) / p0(f_is),

here on a grid, with mu uniform over the range of the prior and ln sigma uniform from a fiftieth to the whole of it. Posteriors of
single lenses may be as wide as the prior: what they have in common adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import number

GRID = (81, 33)
"""Points in mu and sigma."""
BINS = 400
NARROWEST = 0.02
"""Smallest sigma, in units of the prior's range."""
FEWEST = 2
NARROWER = 0.9
"""Scatter of a posterior, in units of the prior's, below which a lens says something."""
Range = tuple[float, float]
"""Ends of a uniform prior."""
LEVELS = {"low_95": 0.025, "low": 0.16, "value": 0.5, "high": 0.84, "high_95": 0.975}


@dataclass(frozen=True)
class PopulationPosterior:
    """Posterior of mu and sigma on a grid.

    Args:
        mu: `(M,)`.
        sigma: `(K,)`.
        probability: `(M, K)`, sum 1.
        lenses: how many.
    """

    mu: np.ndarray
    sigma: np.ndarray
    probability: np.ndarray
    lenses: int

    def summary(self) -> dict[str, Any]:
        """Return median and intervals of mu and of sigma."""
        marginals = {"mu": (self.mu, self.probability.sum(1)), "sigma": (self.sigma, self.probability.sum(0))}
        return {name: _quantiles(*marginal) for name, marginal in marginals.items()} | {"lenses": self.lenses}


def _quantiles(values: np.ndarray, mass: np.ndarray) -> dict[str, float]:
    total = np.cumsum(mass) - 0.5 * mass
    return {name: float(np.interp(level, total / mass.sum(), values)) for name, level in LEVELS.items()}


def population_grid(prior: Range) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of mu `(M,)` and of sigma `(K,)` at which populations are compared."""
    low, high = prior
    return np.linspace(low, high, GRID[0]), (high - low) * np.geomspace(NARROWEST, 1.0, GRID[1])


def lens_likelihoods(samples: np.ndarray, prior: Range) -> np.ndarray:
    """Return ln of each lens's factor of the likelihood on the grid, `(N, M, K)`, of draws `(N, S)`.

    Draws are counted in bins much narrower than the narrowest population, so that the sum over them is one matrix product.
    """
    mu, sigma = population_grid(prior)
    low, high = prior
    edges = np.linspace(low, high, BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    counts = np.stack([np.histogram(row, edges)[0] for row in samples]) / samples.shape[1]  # none beyond the prior's ends
    density = np.exp(-0.5 * ((middle - mu[:, None, None]) / sigma[:, None]) ** 2)
    density /= density.mean(-1, keepdims=True) * (high - low)
    found = (high - low) * counts @ density.reshape(-1, BINS).T
    return np.log(np.maximum(found, 1e-300)).reshape(len(samples), *GRID)


def informative(samples: np.ndarray, prior: Range) -> bool:
    """Whether posteriors `(N, S)` are, in the median, narrower than the prior.

    Where they are not, what adds up over lenses is not what the images say but how well the network knows its own prior.
    """
    return float(np.median(samples.std(1))) < NARROWER * (prior[1] - prior[0]) / 12**0.5


def infer_population(samples: np.ndarray, prior: Range) -> PopulationPosterior:
    """Return the posterior of mean and scatter of one parameter over a set of lenses.

    Args:
        samples: `(N, S)` draws from the posteriors of N lenses.
        prior: that they were learnt under, from its lowest to its highest value.

    Raises:
        InputError: fewer than two lenses, or lenses that say nothing.
    """
    if len(samples) < FEWEST:
        raise InputError(f"{len(samples)} lens is no population: give at least {FEWEST}")
    if not informative(samples, prior):
        raise InputError(
            f"posteriors of single lenses are as wide as the prior from {prior[0]:g} to {prior[1]:g}, and nothing adds up over "
            f"{len(samples)} of them: give a run that has learnt more of this parameter"
        )
    return combined(lens_likelihoods(samples, prior), prior)


def combined(likelihoods: np.ndarray, prior: Range) -> PopulationPosterior:
    """Return the posterior of a population from ln of each of its lenses' factors of the likelihood on the grid, `(N, M, K)`."""
    total = likelihoods.sum(0)
    probability = np.exp(total - total.max())
    return PopulationPosterior(*population_grid(prior), probability / probability.sum(), len(likelihoods))


def population_coverage(
    samples: np.ndarray, truth: np.ndarray, prior: Range, *, lenses: int = 50, sets: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Measure bias and coverage of mu on sets of test lenses whose true values follow a population of known mu and sigma.

    Args:
        samples: `(N, S)` draws of the test lenses, whose true values follow the prior.
        truth: `(N,)`.
        prior: that they were drawn from.
        lenses: of a set, drawn without replacement.
        sets: how many; their mu is uniform over the middle 60% of the range, their sigma between 10% and 30% of it.
        seed: of all that is drawn.

    Returns:
        `bias` of the median of mu (in its unit) with its interval, `coverage_68`, `coverage_95`, mean `width` of half the 68%
        interval, and what the sets were.

    Raises:
        InputError: too few test lenses to draw a set from.
    """
    if len(truth) < 4 * lenses:
        raise InputError(f"{len(truth)} test lenses are too few to draw sets of {lenses} from: give at least {4 * lenses}")
    rng, (low, high) = np.random.default_rng(seed), prior
    likelihoods = lens_likelihoods(samples, prior)
    error, inside, width = np.empty(sets), {"68": 0, "95": 0}, np.empty(sets)
    for k in range(sets):
        mu, sigma = low + (high - low) * rng.uniform(0.2, 0.8), (high - low) * rng.uniform(0.1, 0.3)
        weight = np.exp(-0.5 * ((truth - mu) / sigma) ** 2)
        chosen = rng.choice(len(truth), lenses, replace=False, p=weight / weight.sum())
        found = combined(likelihoods[chosen], prior).summary()["mu"]
        error[k], width[k] = found["value"] - mu, (found["high"] - found["low"]) / 2
        inside["68"] += found["low"] <= mu <= found["high"]
        inside["95"] += found["low_95"] <= mu <= found["high_95"]
    spread = rng.choice(error, (1000, sets)).mean(1)
    return {
        "bias": number(error.mean(), spread, sets, 0.95),
        "coverage_68": proportion(int(inside["68"]), sets),
        "coverage_95": proportion(int(inside["95"]), sets),
        "width": float(width.mean()),
        "lenses": lenses,
        "sets": sets,
        "seed": seed,
    }
