"""Find the best parameters: damped Gauss-Newton steps on the cost, the regularisation by its evidence in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darklens.fit.one_lens.inversion import Solution, best_strength
from darklens.fit.one_lens.model import Model

DAMPING = 1e-2
DAMPING_LIMITS = 1e-6, 1e8
SETTLED = 0.05
"""Gain of the log-likelihood in a step below which a fit has come to its end, if the next gains no more."""
CHOOSE_AGAIN = (0, 2, 5, 9)
"""Steps after which the regularisation is chosen anew; what is minimised changes with it."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where a descent ended.

    Args:
        model: with its grid.
        eta: `(p,)` parameters.
        solution: the linear problem solved there.
        information: `(p, p)` Gauss-Newton matrix of half the cost.
        converged: whether it came to rest.
        steps: linear problems solved.
    """

    model: Model
    eta: np.ndarray
    solution: Solution
    information: np.ndarray
    converged: bool
    steps: int

    @property
    def evidence(self) -> float:
        """Return ln E with the noise's normalisation."""
        return self.solution.evidence + float(np.log(self.model.observation.weight).sum())


def descend(
    model: Model,
    eta: np.ndarray,
    strength: float,
    *,
    iterations: int = 20,
    by_evidence: bool = False,
) -> Found:
    """Minimise over the non-linear parameters, amplitudes solved for at each step (Levenberg-Marquardt).

    What is minimised is half of chi^2 + prior (and of the positions' chi^2, where the model has some); or -ln E, which has ln|A_s|
    besides: without it a pixelised source prefers lenses that magnify it until it is smooth. The regularisation follows its
    evidence between steps, less and less often.

    Args:
        model: with its grid.
        eta: `(p,)` start.
        strength: regularisation to begin with.
        iterations: steps at most.
        by_evidence: minimise -ln E.
    """
    low, high = model.bounds
    eta = np.clip(eta, low, high)
    solution = best_strength(model.problem(eta), strength, tolerance=0.5)
    damping, quiet, steps = DAMPING, 0, 1
    gradient, information = slope_of(model, eta, solution, by_evidence)
    for number in range(iterations):
        step = _step(eta, gradient, information, damping, low, high)
        trial = np.clip(eta + step, low, high)
        tried = model.problem(trial).solve(solution.strength)
        steps += 1
        gain = _height(solution, by_evidence) - _height(tried, by_evidence)
        if gain > 0:
            eta, solution, damping = trial, tried, max(damping / 5, DAMPING_LIMITS[0])
            quiet = quiet + 1 if gain < SETTLED else 0
            if number in CHOOSE_AGAIN:
                again = best_strength(solution.problem, solution.strength, tolerance=0.3)
                if again.evidence > solution.evidence:
                    solution, quiet = again, 0
            gradient, information = slope_of(model, eta, solution, by_evidence)
        else:
            damping *= 5
        if quiet >= 2 or damping > DAMPING_LIMITS[1] or np.abs(step / (high - low)).max() < 1e-7:
            return Found(model, eta, solution, information, True, steps)
    return Found(model, eta, solution, information, False, steps)


def _height(solution: Solution, by_evidence: bool) -> float:
    return -solution.evidence if by_evidence else 0.5 * solution.cost


def slope_of(model: Model, eta: np.ndarray, solution: Solution, by_evidence: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient `(p,)` and Gauss-Newton matrix `(p, p)` of what `descend` minimises."""
    V, log_det = model.derivatives(eta, solution, by_evidence)
    gradient, information = solution.gauss_newton(V)
    pull, stiffness = model.pull_of_positions(eta)
    return gradient + log_det + pull, information + stiffness


def _step(
    eta: np.ndarray, gradient: np.ndarray, information: np.ndarray, damping: float, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Return a damped Gauss-Newton step; parameters that push against a bound stay there."""
    diagonal = np.diag(information)
    damped = information + damping * np.diag(np.maximum(diagonal, 1e-12 * diagonal.max() + 1e-300))
    free = ~(((eta <= low) & (gradient > 0)) | ((eta >= high) & (gradient < 0)))
    step = np.zeros_like(eta)
    step[free] = -np.linalg.solve(damped[np.ix_(free, free)], gradient[free])
    return step
