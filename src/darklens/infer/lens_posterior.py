"""The posterior of one lens: chains over masses, light shapes and the regularisation, source and amplitudes integrated out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from darklens.errors import InputError
from darklens.fit.one_lens import LensFit
from darklens.infer.chains import LEAST, Samples, sample

STRENGTH = "ln_lambda"
STRENGTH_SD = 0.5
"""First guess of the posterior's width in ln lambda."""
OUTERMOST = 2.5
"""Largest normal score of an optimum: one beyond lies at the end of its range."""
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
    intervals: dict[str, dict[str, float | None]]
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

    The grid of the source and which amplitudes take part stay as they are in the fit; the amplitudes are integrated out exactly at
    every step, so that the density is the evidence. Chains move among the parameters' normal scores. What other grids would say is
    added at the end: every sample moves by a draw from the Gaussian of the grids' scatter.

    Args:
        fit: the best fit.
        samples: in all chains together.
        seed: of the chains.
        progress: called with evaluations done and in all.

    Raises:
        InputError: too few samples.
    """
    best, pixelised, scores = fit.found.solution, fit.model.grid is not None, Scores(*fit.model.bounds)
    p = len(fit.names)

    def log_density(vector: np.ndarray) -> float:
        if pixelised and abs(vector[-1] - math.log(best.strength)) > 12:
            return -math.inf
        try:
            strength = math.exp(vector[-1]) if pixelised else best.strength
            evidence = fit.model.problem(scores.values(vector[:p])).solve(strength, best.active).evidence
        except np.linalg.LinAlgError:
            return -math.inf
        return evidence + scores.log_prior(vector[:p])

    names, best_scores = fit.names, scores.of(fit.found.eta)
    slope = scores.slopes(best_scores)
    covariance = np.linalg.inv(slope[:, None] * fit.found.information * slope + np.eye(p))
    centre = best_scores - covariance @ best_scores  # a Newton step from the largest likelihood to the largest density
    if pixelised:
        names, centre = (*names, STRENGTH), np.append(centre, math.log(best.strength))
        covariance = np.block([[covariance, np.zeros((p, 1))], [np.zeros((1, p)), np.array([[STRENGTH_SD**2]])]])
    chains = sample(log_density, names, centre, covariance, samples=samples, seed=seed, progress=progress)
    own = chains.values[..., :p]
    values = np.concatenate([scores.values(own), chains.values[..., p:]], axis=-1)
    chains = replace(chains, values=values, log_density=chains.log_density - scores.log_prior(own))
    return chains.widened(fit.scatter, *fit.model.bounds, seed)


@dataclass(frozen=True, eq=False)
class Scores:
    """Parameters as normal scores of their prior, which is uniform between bounds.

    Scores have no bounds, and are Gaussian where the pixels say nothing. Chains among the parameters themselves would run against
    the bounds of those that the pixels leave open, such as the shape of Gaussians whose light is not fitted.

    Args:
        low: `(p,)` bounds.
        high: likewise.
    """

    low: np.ndarray
    high: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return scores `(p,)`, at most `OUTERMOST` from the middle."""
        return np.clip(ndtri(np.clip((values - self.low) / (self.high - self.low), 0, 1)), -OUTERMOST, OUTERMOST)

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Return parameters `(..., p)`."""
        return self.low + (self.high - self.low) * ndtr(scores)

    def slopes(self, scores: np.ndarray) -> np.ndarray:
        """Return how parameters change with their scores, `(p,)`."""
        return (self.high - self.low) * np.exp(-0.5 * scores**2) / math.sqrt(2 * math.pi)

    def log_prior(self, scores: np.ndarray) -> Any:
        """Return the logarithm of the prior's density `(...)`, up to a constant."""
        return -0.5 * (scores**2).sum(-1)


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
