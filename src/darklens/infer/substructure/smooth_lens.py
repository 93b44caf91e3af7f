"""A smooth lens at its best fit, with all that it could still do: what a search for clumps starts from, whatever made the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.fit import PARAMETERS, Plan, SmoothFit
from darklens.fit.lens_model import brightness, profiles
from darklens.fit.normal_equations import normal_equations, weighed
from darklens.lensing import trace
from darklens.simulate import pixel_grid
from darklens.simulate.psf import PSF


@dataclass(frozen=True)
class SmoothLens:
    """One image and its smooth lens; H x W pixels, and m more on each side where light is rendered before it is blurred.

    Args:
        residual: `(H, W)` image minus model.
        weights: `(H, W)` 1/variance, zero where a pixel is masked.
        nuisances: `(K, H, W)` derivative of the model by every parameter that may adjust: lens, source (or its pixels), sky.
        prior: `(K, K)` precision that they have besides the image, the regularisation of a pixelised source; None for none.
        model: `(H, W)`.
        beta: two `(H + 2m, W + 2m)`, where the light of each pixel comes from in the source plane, arcsec.
        brightness: surface brightness of the source, flux/arcsec^2, at positions of any shape.
        psf: point spread function.
        pixel_scale: arcsec.
    """

    residual: np.ndarray
    weights: np.ndarray
    nuisances: np.ndarray
    prior: np.ndarray | None
    model: np.ndarray
    beta: tuple[Tensor, Tensor]
    brightness: Callable[[Tensor, Tensor], Tensor]
    psf: PSF
    pixel_scale: float

    @property
    def margin(self) -> int:
        """Pixels that are rendered beyond each side."""
        return self.psf.margin(self.pixel_scale)

    def arcs(self) -> np.ndarray:
        """Return the light of the source alone as the camera sees it, `(H, W)`, in units of the noise; zero where masked."""
        light = self.brightness(*self.beta) * self.pixel_scale**2
        return self.psf.convolve(light, self.pixel_scale).numpy() * np.sqrt(self.weights)


def smooth_lens(image: np.ndarray, fit: SmoothFit, plan: Plan, *, row: int = 0, mask: np.ndarray | None = None) -> SmoothLens:
    """Return the smooth lens of a parametric fit.

    Args:
        image: `(H, W)`.
        fit: its fit, made with the same plan and mask.
        plan: pixel scale, PSF, noise and model.
        row: of the fit.
        mask: `(H, W)`, true where a pixel counts.

    Raises:
        InputError: the fit did not converge: what it leaves over is no evidence of anything.
    """
    if not fit.converged[row]:
        raise InputError(
            f"the smooth fit did not converge (reduced chi^2 {fit.chi2[row]:.3g}): what it leaves over is no evidence for a clump; "
            "check PSF, noise and pixel scale, or give another --model"
        )
    v0, v1 = plan.noise.variance(image[None])
    good = np.isfinite(image[None]) & (v0 > 0) & (True if mask is None else np.asarray(mask, bool))
    one = weighed(image[None], v0, v1, good, slice(0, 1), plan.pixel_scale, plan.psf)
    parameters = fit.parameters[row : row + 1]
    at = normal_equations(one, plan.model, np.zeros(1, int), parameters, full=True)
    margin = plan.psf.margin(plan.pixel_scale)
    x, y = pixel_grid(image.shape, plan.pixel_scale, margin, torch.float32)
    values = torch.as_tensor(fit.parameters[row], dtype=torch.float32)
    masses, source, _, _ = profiles(values)
    assert len(values) == len(PARAMETERS)
    assert at.model is not None
    assert at.jacobian is not None
    return SmoothLens(
        residual=(one.data - at.model)[0],
        weights=at.weights[0],
        nuisances=at.jacobian[0],
        prior=None,
        model=at.model[0],
        beta=trace(masses, x, y),
        brightness=partial(brightness, source),
        psf=plan.psf,
        pixel_scale=plan.pixel_scale,
    )
