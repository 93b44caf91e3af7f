"""The posterior of one lens: chains over masses, light shapes and the regularisation, the source integrated out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from darklens.errors import InputError
from darklens.fit.one_lens import LensFit
from darklens.fit.one_lens.inversion import Solution
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.search import slope_of
from darklens.infer.chains import LEAST, Samples, sample
from darklens.infer.gaussian import Gaussian
from darklens.infer.scores import Scores

STRENGTH = "ln_lambda"
STRENGTH_SD = 0.5
"""First guess of the posterior's width in ln lambda."""
FARTHEST = 12.0
"""From the best ln lambda."""
FAR_OFF = 5.0
"""Standard deviations of chi^2 beyond which a model does not describe the image: it lies in a wrong valley, or lacks something."""
QUANTILES = {"low": 0.15865, "high": 0.84135, "low95": 0.025, "high95": 0.975}


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the parameters of a lens.

    Args:
        kind: "samples" of the posterior, "gaussian" for the approximation at the best fit, "none" where nothing converged.
        intervals: parameter -> value, low, high (68%), low95, high95; all but the value are None where nothing converged.
        samples: the chains, None without them.
        why: one sentence if there are no intervals.
    """

    kind: str
    intervals: Mapping[str, Mapping[str, float | None]]
    samples: Samples | None
    why: str

    @property
    def converged(self) -> bool:
        """Whether intervals are given."""
        return self.kind != "none"


def sample_lens(
    fit: LensFit, samples: int, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> Samples:
    """Sample the posterior of a fit's parameters, priors uniform within their bounds, that of ln lambda without bounds.

    The grid of the source stays as it is in the fit; the density is the evidence, for which the nodes are integrated out exactly at
    every step, and the light takes its best values. Chains move among the parameters' normal scores; changes in the shapes of
    Gaussians of lens light are integrated out as well (`Model.shapes_as_noise`), and drawn for every sample from the Gaussian of
    the fit, given the sample. What other grids would say is added at the end: every sample moves by a draw from the Gaussian of
    the grids' scatter.

    Args:
        fit: the best fit.
        samples: in all chains together.
        seed: of the chains.
        progress: called with evaluations done and in all.

    Raises:
        InputError: too few samples.
    """
    model = fit.model.shapes_as_noise(fit.found.eta, fit.found.solution)
    uniform, p = Scores.uniform(*model.bounds), len(model.names)
    density, start = Density(model, fit.found.solution.strength, uniform), _start(fit, model, uniform)
    names, slope, before = model.names, None, 0
    if density.pixelised:
        names = (*names, STRENGTH)
        matched = start.narrowed(density).matched(density.slope, np.random.default_rng([seed, p]))
        before = density.evaluations
        scores = uniform.following(matched.mean[:p], np.sqrt(np.diag(matched.covariance))[:p])
        density, start = Density(model, density.strength, scores), _moved(matched, uniform, scores)
        slope = density.slope
    scores = density.scores
    chains = sample(density, names, start.mean, start.covariance, samples=samples, seed=seed, slope=slope, progress=progress)
    own = chains.values[..., :p]
    values = np.concatenate([scores.values(own), chains.values[..., p:]], axis=-1)
    log_density = chains.log_density - scores.log_prior(own)
    chains = replace(chains, values=values, log_density=log_density, evaluations=before + chains.evaluations)
    return _with_shapes(chains, fit, model, seed).widened(fit.scatter, *fit.model.bounds, seed)


def _with_shapes(chains: Samples, fit: LensFit, model: Model, seed: int) -> Samples:
    """Return chains with the parameters that the model holds, drawn from the Gaussian of the fit given the others."""
    held = [fit.names.index(name) for name in fit.names if name in model.held]
    if not held:
        return chains
    own, best, p = [fit.names.index(name) for name in model.names], fit.found.eta, len(fit.names)
    covariance = fit.covariance_on_grid
    gain = np.linalg.solve(covariance[np.ix_(own, own)], covariance[np.ix_(own, held)])
    left = covariance[np.ix_(held, held)] - covariance[np.ix_(held, own)] @ gain
    sampled = chains.values[..., : len(own)]
    draws = np.random.default_rng([seed, len(held), p]).multivariate_normal(best[held], left, sampled.shape[:2])
    low, high = fit.model.bounds
    values = np.empty((*sampled.shape[:2], p))
    values[..., own] = sampled
    values[..., held] = np.clip(draws + (sampled - best[own]) @ gain, low[held], high[held])
    names = (*fit.names, *chains.names[len(own) :])
    return replace(chains, names=names, values=np.concatenate([values, chains.values[..., len(own) :]], axis=-1))


def _start(fit: LensFit, model: Model, scores: Scores) -> Gaussian:
    """Return what the fit knows of the posterior of the model's parameters."""
    own = [fit.names.index(name) for name in model.names]
    low, high = model.bounds
    # what the fit's shapes leave of the information, less the priors that scores bring along
    information = np.linalg.inv(fit.covariance_on_grid[np.ix_(own, own)]) - np.diag(12 / (high - low) ** 2)
    best, p = scores.of(fit.found.eta[own]), len(own)
    slope = scores.slopes(best)
    covariance = np.linalg.inv(slope[:, None] * information * slope + np.eye(p))
    centre = best - covariance @ best  # a Newton step from the largest likelihood to the largest density
    if model.grid is not None:
        centre = np.append(centre, math.log(fit.found.solution.strength))
        covariance = np.block([[covariance, np.zeros((p, 1))], [np.zeros((1, p)), np.array([[STRENGTH_SD**2]])]])
    return Gaussian.of(centre, covariance)


def _moved(gaussian: Gaussian, before: Scores, after: Scores) -> Gaussian:
    """Return a Gaussian among other scores, as far as they are straight."""
    p = len(before.low)
    values = before.values(gaussian.mean[:p])
    mean, factor = gaussian.mean.copy(), np.ones(len(gaussian.mean))
    mean[:p] = after.of(values)
    factor[:p] = before.slopes(gaussian.mean[:p]) / after.slopes(mean[:p])
    return Gaussian.of(mean, factor[:, None] * gaussian.covariance * factor)


class Density:
    """ln posterior density `(p,)` or `(p + 1,)` of a fit's parameters as normal scores, and of ln lambda of a source on pixels.

    Args:
        model: with its grid, which stays.
        strength: the best lambda.
        scores: from values to coordinates.
    """

    def __init__(self, model: Model, strength: float, scores: Scores):
        self.model, self.strength, self.scores = model, strength, scores
        self.pixelised, self.evaluations = model.grid is not None, 0

    def __call__(self, vector: np.ndarray) -> float:
        """Return ln density; minus infinity where the linear problem has no solution."""
        solution = self._solved(vector)
        return -math.inf if solution is None else solution.evidence + self._log_prior(vector)

    def slope(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return ln density of a source on pixels, and its derivatives."""
        p, solution = len(self.scores.low), self._solved(vector)
        if solution is None:
            return -math.inf, np.full(len(vector), np.nan)
        eta = self.scores.values(vector[:p])
        uphill = -slope_of(self.model, eta, solution, True)[0] * self.scores.slopes(vector[:p]) + self.scores.log_prior_slopes(
            vector[:p]
        )
        return solution.evidence + self._log_prior(vector), np.append(uphill, solution.slope_of_strength())

    def _solved(self, vector: np.ndarray) -> Solution | None:
        self.evaluations += 1
        p = len(self.scores.low)
        if self.pixelised and abs(vector[-1] - math.log(self.strength)) > FARTHEST:
            return None
        strength = math.exp(vector[-1]) if self.pixelised else self.strength
        try:
            return self.model.problem(self.scores.values(vector[:p])).solve(strength)
        except np.linalg.LinAlgError:
            return None

    def _log_prior(self, vector: np.ndarray) -> float:
        return self.scores.log_prior(vector[: len(self.scores.low)])


def posterior(
    fit: LensFit, samples: int = 0, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> Posterior:
    """Return intervals of the parameters: of samples, or without them of a Gaussian; none of what has not converged.

    Raises:
        InputError: a number of samples with which nothing can be said.
    """
    check_samples(samples)
    if not fit.converged:
        doubt = f" ({fit.doubt})" if fit.doubt else ""
        return _without(
            fit.parameters, None, f"the fit has not converged{doubt}: no intervals are given; try more --starts or another --model"
        )
    limit = 1 + FAR_OFF * math.sqrt(2 / fit.dof)
    if fit.reduced_chi2 > limit:
        why = f"reduced chi^2 {fit.reduced_chi2:.3f} over {fit.dof:.0f} degrees of freedom (limit {limit:.3f})"
        why += ": the fit has not converged on a model of this image: no intervals are given; try more --starts or another --model"
        return _without(fit.parameters, None, why)
    if not samples:
        return Posterior("gaussian", _gaussian(fit), None, "")
    chains = sample_lens(fit, samples, seed=seed, progress=progress)
    if not chains.converged:
        middle = dict(zip(chains.names, np.median(chains.flat, axis=0).tolist(), strict=True))
        return _without(middle, chains, chains.verdict())
    return Posterior("samples", chains.intervals(), chains, "")


def check_samples(samples: int) -> None:
    """Refuse a number of samples with which nothing can be said, before any work is done.

    Raises:
        InputError: neither none nor enough.
    """
    if samples < 0 or 0 < samples < LEAST:
        raise InputError(f"{samples} samples are too few to tell whether chains converged: take at least {LEAST}, or 0 for none")


def _without(values: dict[str, float], chains: Samples | None, why: str) -> Posterior:
    return Posterior("none", {k: {"value": v} | dict.fromkeys(QUANTILES) for k, v in values.items()}, chains, why)


def _gaussian(fit: LensFit) -> dict[str, dict[str, float | None]]:
    """Return intervals of the Gaussian about the optimum, which end where the parameter's range does."""
    found: dict[str, dict[str, float | None]] = {}
    for name, value, sigma, low, high in zip(
        fit.names, fit.found.eta.tolist(), np.sqrt(np.diag(fit.covariance)).tolist(), *fit.model.bounds, strict=True
    ):
        ends = {key: value + sigma * float(stats.norm.ppf(q)) for key, q in QUANTILES.items()}
        found[name] = {"value": value} | {key: float(np.clip(end, low, high)) for key, end in ends.items()}
    return found
