"""The best smooth lens of simulated images in the coordinates of the prior, its information, and what substructure does to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.infer.annealing import Problem
from darklens.infer.latent import Hypothesis
from darklens.infer.likelihood import Likelihood
from darklens.simulate import Scene

STEP = 1e-3
"""Of a finite difference, in units of the prior's width."""
ITERATIONS = 8
PRIOR_PRECISION = 12.0
"""That of a uniform prior of unit width."""
INFLATION = 2.0
"""Width of the base distribution in standard deviations of the fit, so that no tail is missed."""
NONLINEAR = 0.15
"""Share of the shift by substructure that the linear map is taken to miss."""
PILOTS = 24
"""Draws of the substructure that measure the shift's spread."""


@dataclass(frozen=True)
class Optimum:
    """The smooth fits of N images.

    Args:
        likelihood: the images.
        u: `(N, macro)` best coordinates.
        origin: `(N, macro)` what is taken off coordinates so that angles are far from their seam.
        precision: `(N, macro, macro)` Fisher information.
        flux: `(N, H, W)` of the best smooth lens.
        response: `(N, macro, H W)` float32: change of the best coordinates by a change of flux.
    """

    likelihood: Likelihood
    u: Tensor
    origin: Tensor
    precision: Tensor
    flux: Tensor
    response: Tensor

    def local(self, u: Tensor) -> Tensor:
        """Return coordinates `(N, size)` of the cube as the chains use them."""
        shifted = u[:, : self.u.shape[1]] - self.origin
        shifted = torch.where(self.origin != 0, shifted % 1, shifted)
        return torch.cat([shifted, u[:, self.u.shape[1] :]], 1)

    def problem(self, hypothesis: Hypothesis, images: Tensor, seed: int) -> Problem:
        """Return the integral of a class over some of the images.

        Args:
            hypothesis: the class.
            images: `(n,)` their numbers.
            seed: of the draws that measure how far substructure shifts the fit.
        """
        macro = hypothesis.macro

        def scene_at(u_macro: Tensor, w: Tensor) -> Scene:
            return hypothesis.scene(torch.cat([u_macro, w], 1))

        def log_likelihood(t: Tensor, which: Tensor) -> Tensor:
            rows = images[which]
            return self.likelihood(scene_at(t[:, :macro] + self.origin[rows], t[:, macro:]), rows)

        def shift(w: Tensor, which: Tensor) -> Tensor:
            if not w.shape[1]:
                return w.new_zeros(len(w), macro)
            rows = images[which]
            change = (self.likelihood.flux(scene_at(self.u[rows], w)) - self.flux[rows]).flatten(1)
            each = change.view(len(images), -1, change.shape[1])  # chains of one image stand together
            return torch.einsum("ncp,nmp->ncm", each, self.response[images]).flatten(0, 1).double()

        precision = self.precision[images]
        covariance = INFLATION**2 * torch.linalg.inv(precision)
        extra = hypothesis.size - macro
        if extra:
            pilots = torch.arange(len(images)).repeat_interleave(PILOTS)
            drawn = torch.rand(len(pilots), extra, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            spread = shift(drawn, pilots).view(len(images), PILOTS, macro)
            spread = spread - spread.mean(1, keepdim=True)
            covariance = covariance + NONLINEAR**2 * spread.mT @ spread / PILOTS
        return Problem(log_likelihood, shift, self.u[images] - self.origin[images], covariance, precision, hypothesis.blocks)


def find_optimum(likelihood: Likelihood, smooth: Hypothesis, start: Tensor) -> Optimum:
    """Fit the smooth class by damped Gauss-Newton steps.

    Args:
        likelihood: N images.
        smooth: the class without substructure.
        start: `(N, macro)` coordinates, here the true ones: the way to the maximum is not what is studied.
    """
    u, n = start.clone(), len(start)
    everything = torch.arange(n)
    value = likelihood(smooth.scene(u), everything)
    damping = torch.full((n,), 1e-3, dtype=torch.float64)
    for _ in range(ITERATIONS):
        flux, jacobian, precision = _linear(likelihood, smooth, u)
        weights = likelihood.weights(flux).flatten(1)
        residual = (likelihood.counts - likelihood.offset).double().flatten(1) / likelihood.gain - flux.flatten(1)
        gradient = torch.einsum("nmp,np->nm", jacobian, weights * residual)
        damped = precision + damping[:, None, None] * torch.diag_embed(precision.diagonal(dim1=1, dim2=2))
        trial = _inside(u + torch.linalg.solve(damped, gradient), smooth)
        there = likelihood(smooth.scene(trial), everything)
        better = there > value
        u, value = torch.where(better[:, None], trial, u), torch.where(better, there, value)
        damping = torch.where(better, damping * 0.1, damping * 10)
    flux, jacobian, precision = _linear(likelihood, smooth, u)
    weighted = jacobian * likelihood.weights(flux).flatten(1)[:, None]
    response = torch.linalg.solve(precision, weighted).float()
    origin = torch.where(smooth.periodic, u - 0.5, 0.0)
    return Optimum(likelihood, u, origin, precision, flux.float(), response)


def _inside(u: Tensor, smooth: Hypothesis) -> Tensor:
    """Keep coordinates where the prior is, with room for a finite difference; angles may go round."""
    return torch.where(smooth.periodic, u, u.clamp(2 * STEP, 1 - 2 * STEP))


def _linear(likelihood: Likelihood, smooth: Hypothesis, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return flux `(N, H, W)`, Jacobian `(N, macro, H W)` and Fisher information with the prior's, all float64."""
    flux = likelihood.flux(smooth.scene(u), torch.float64)
    columns = []
    for k in range(u.shape[1]):
        moved = u.clone()
        moved[:, k] += STEP
        columns.append((likelihood.flux(smooth.scene(moved), torch.float64) - flux).flatten(1) / STEP)
    jacobian = torch.stack(columns, 1)
    weighted = jacobian * likelihood.weights(flux).flatten(1)[:, None]
    precision = weighted @ jacobian.mT + PRIOR_PRECISION * torch.eye(u.shape[1], dtype=torch.float64)
    return flux, jacobian, precision
