"""Batched Levenberg-Marquardt with bounds and model-dependent weights.

A step is judged with the weights of the point it starts from; then the weights follow (iteratively reweighted least squares): for
Poisson counts the fixed point is the maximum of the likelihood. Every job has its own damping, and jobs that have converged are
not computed any more. Convergence is Minuit's: the decrease of chi^2 still to be expected, `g A^-1 g`, is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from darklens.fit.normal_equations import Images, Normal, normal_equations

EXPECTED_DECREASE = 1e-2
"""Of chi^2 at convergence; a tenth of a standard deviation of one parameter."""
MAX_DAMPING = 1e7


class Bounded(Protocol):
    """What the descent asks of a model."""

    @property
    def free_index(self) -> list[int]:
        """Positions of the fitted parameters among all."""

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper bounds of the free parameters."""


@dataclass
class State:
    """Where the jobs are.

    Args:
        which: `(J,)` image of each job.
        parameters: `(J, len(PARAMETERS))`.
        cost: `(J,)` chi^2.
        A: `(J, P, P)` normal matrix there.
        converged: `(J,)`.
        iterations: `(J,)`.
    """

    which: np.ndarray
    parameters: np.ndarray
    cost: np.ndarray
    A: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray


def minimise(
    images: Images,
    model: Bounded,
    which: np.ndarray,
    start: np.ndarray,
    *,
    iterations: int,
    device: str = "cpu",
    equations: Callable[..., Normal] = normal_equations,
) -> State:
    """Minimise chi^2 of each job.

    Args:
        images: the images.
        model: says what is free, by `free_index` and `bounds()`.
        which: `(J,)` image of each job.
        start: `(J, len(PARAMETERS))`.
        iterations: at most.
        device: where PyTorch computes.
        equations: in place of `normal_equations`, for models with other parameters.
    """
    free = model.free_index
    low, high = model.bounds()
    p = start.copy()
    p[:, free] = np.clip(p[:, free], low, high)
    here = equations(images, model, which, p, device=device)
    cost, A, g, weights = here.cost, here.A, here.g, here.weights
    damping = np.full(len(which), 1e-2)
    done, count = np.zeros(len(which), int), np.zeros(len(which), int)
    for _ in range(iterations + 1):
        active = np.flatnonzero(done == 0)
        newton, expected = _step(A[active], g[active], np.zeros(len(active)), p[active][:, free], low, high)
        small = np.isfinite(expected) & (expected < EXPECTED_DECREASE)
        done[active[small]] = 1
        if count[active].max(initial=0) >= iterations:
            break
        active, newton = active[~small], newton[~small]
        if not len(active):
            break
        step, _ = _step(A[active], g[active], damping[active], p[active][:, free], low, high)
        trial = p[active]
        trial[:, free] = np.clip(trial[:, free] + step, low, high)
        step = trial[:, free] - p[active][:, free]
        promised = 2 * (step * g[active]).sum(1) - np.einsum("jp,jpq,jq->j", step, A[active], step)
        there = equations(images, model, which[active], trial, weights[active], device=device)
        before = cost[active]
        better = np.isfinite(there.cost_in) & np.isfinite(there.A).all((1, 2)) & (there.cost_in <= before)
        taken = active[better]
        p[taken], cost[taken], A[taken], g[taken] = trial[better], there.cost[better], there.A[better], there.g[better]
        weights[taken] = there.weights[better]
        with np.errstate(over="ignore"):  # images that no lens could make: any large number says enough
            kept = (before - there.cost_in) / np.maximum(promised, 1e-300)
        damping[active] = _damped(damping[active], kept, better)
        count[active] += 1
        done[active[damping[active] > MAX_DAMPING]] = -1
    return State(which, p, cost, A, done == 1, count)


def _damped(damping: np.ndarray, kept: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Return the next damping from the share of the promised decrease that came true (Marquardt, with a middle ground)."""
    factor = np.where(kept > 0.75, 0.1, np.where(kept > 0.25, 0.5, 2.0))
    return np.where(better, np.maximum(damping * factor, 1e-9), np.maximum(damping, 1e-5) * 8)


def _step(
    A: np.ndarray, g: np.ndarray, damping: np.ndarray, p: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the step `(J, P)` and the decrease of chi^2 that a full one promises; parameters pushed against a bound stay there."""
    stuck = ((p <= low) & (g < 0)) | ((p >= high) & (g > 0))
    g = np.where(stuck, 0.0, g)
    diagonal = np.einsum("jpp->jp", A)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = A * scale[:, :, None] * scale[:, None, :]
    scaled[stuck] = 0
    scaled.transpose(0, 2, 1)[stuck] = 0
    index = np.arange(A.shape[-1])
    scaled[:, index, index] = (1 + damping[:, None]) + 1e-9
    step = np.linalg.solve(scaled, (g * scale)[..., None])[..., 0] * scale
    return step, (step * g).sum(1)


def covariance(A: np.ndarray) -> np.ndarray:
    """Return the inverse of normal matrices `(J, P, P)`; NaN where a parameter leaves no trace in the image."""
    diagonal = np.einsum("jpp->jp", A)
    good = (diagonal > 0).all(1) & np.isfinite(A).all((1, 2))
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = np.where(good[:, None, None], A * scale[:, :, None] * scale[:, None, :], np.eye(A.shape[-1]))
    inverse = np.linalg.pinv(scaled, hermitian=True, rcond=1e-12) * scale[:, :, None] * scale[:, None, :]
    inverse[~good] = np.nan
    return inverse
