"""A candidate taken seriously: smooth lens, source and clump fitted together, with the clump's place and mass free.

The image is not linear in anything here. Only the smooth lens's deflection is: over the few thousandths by which a clump moves its
parameters, `alpha(p + dp) = alpha(p) + (d alpha/dp) dp` holds to the square of that, and it is expanded again where the fit has
come to. With `beta = theta - alpha(p) - alpha_clump` the Jacobian of the light before the PSF is `-grad S . d(alpha)/dp` for lens
and clump, and `dS/dq` for the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darklens.fit import PARAMETERS, LensModel, Plan, SmoothFit
from darklens.fit.lens_model import brightness, profiles
from darklens.fit.levenberg_marquardt import covariance, minimise
from darklens.fit.normal_equations import Images, Normal
from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.smooth_lens import SmoothLens
from darklens.lensing import SIE, Shear
from darklens.simulate import pixel_grid

CLUMP = ("clump_x", "clump_y", "clump_log10_m")
"""Parameters behind those of the smooth lens: arcsec, arcsec, log10 M_sun."""
LENS = ("theta_E", "gamma", "e1", "e2", "center_x", "center_y", "gamma1", "gamma2")
BOUNDS = (6.0, 12.0)
"""Of log10 M_sun."""
ITERATIONS = (20, 10)
"""Before and after the lens is expanded anew."""
WANDERED = 0.5
"""Arcsec from where it started beyond which a clump is another one."""


@dataclass(frozen=True)
class Refit:
    """One candidate, fitted together with the smooth lens.

    Args:
        x: arcsec.
        y: arcsec.
        log10_m: total mass, M_sun.
        errors: standard deviations of these three; NaN where the fit did not converge.
        delta_chi2: decrease of chi^2 from the smooth lens, with the weights of the smooth lens.
        chi2: reduced chi^2 with the clump.
        converged: whether the fit did, and stayed with its candidate.
        parameters: of smooth lens and clump, `PARAMETERS` and `CLUMP`.
    """

    x: float
    y: float
    log10_m: float
    errors: tuple[float, float, float]
    delta_chi2: float
    chi2: float
    converged: bool
    parameters: np.ndarray


def refit(
    image: np.ndarray,
    fit: SmoothFit,
    plan: Plan,
    lens: SmoothLens,
    clump: Clump,
    start: tuple[float, float, float],
    *,
    row: int = 0,
    mask: np.ndarray | None = None,
) -> Refit:
    """Fit smooth lens and one clump.

    Args:
        image: `(H, W)`.
        fit: the smooth fit.
        plan: how it was fitted.
        lens: made of it.
        clump: kind of clump.
        start: x and y in arcsec, log10 of the mass.
        row: of the fit.
        mask: `(H, W)`, true where a pixel counts.
    """
    v0, v1 = plan.noise.variance(image[None])
    good = np.isfinite(image[None]) & (v0 > 0) & (True if mask is None else np.asarray(mask, bool))
    one = Images(np.where(good, image[None], 0.0), np.where(good, v0, -1.0), v1, plan.pixel_scale, plan.psf)
    model, which = _Clumped(plan.model, clump, 0.5 * max(image.shape) * plan.pixel_scale), np.zeros(1, int)
    here = np.concatenate([fit.parameters[row], start])[None]
    for iterations in ITERATIONS:
        model.expand(here[0], one)
        state = minimise(one, model, which, here, iterations=iterations, equations=model.equations)
        here = state.parameters
    last = model.equations(one, model, which, here)
    variance = np.diagonal(covariance(last.A)[0])[-3:]
    before = float((lens.weights * lens.residual**2).sum())
    after = float((lens.weights * (one.data - last.model)[0] ** 2).sum())
    x, y, log10_m = here[0, -3:].tolist()
    stayed = np.hypot(x - start[0], y - start[1]) < WANDERED and BOUNDS[0] < log10_m < BOUNDS[1]
    converged = bool(state.converged[0] and stayed and np.all(variance > 0))
    error_x, error_y, error_m = np.sqrt(variance).tolist() if converged else (np.nan,) * 3
    degrees = int(good.sum()) - len(model.free_index)
    chi2 = float(last.cost[0]) / degrees
    return Refit(x, y, log10_m, (error_x, error_y, error_m), before - after, chi2, converged, here[0])


class _Clumped:
    """The smooth model and one clump, for one image: what `minimise` asks of a model, and its equations."""

    def __init__(self, smooth: LensModel, clump: Clump, reach: float) -> None:
        self.smooth, self.clump, self.reach = smooth, clump, reach
        self.lens = [k for k in smooth.free_index if PARAMETERS[k] in LENS]
        self.light = [k for k in smooth.free_index if PARAMETERS[k] not in LENS]
        count = len(PARAMETERS)
        self.free_index = [*self.lens, *self.light, count, count + 1, count + 2]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper bounds of the free parameters."""
        order = [self.smooth.free_index.index(k) for k in (*self.lens, *self.light)]
        low, high = (bound[order] for bound in self.smooth.bounds())
        return np.array([*low, -self.reach, -self.reach, BOUNDS[0]]), np.array([*high, self.reach, self.reach, BOUNDS[1]])

    def expand(self, parameters: np.ndarray, images: Images) -> None:
        """Expand the lens's deflection about parameters."""
        margin = images.psf.margin(images.pixel_scale)
        self.x, self.y = pixel_grid(images.data.shape[1:], images.pixel_scale, margin)
        self.at = torch.from_numpy(parameters[: len(PARAMETERS)].copy())
        self.alpha, self.slope = _derivatives(self._deflection, self.at, self.lens)

    def _deflection(self, values: Tensor) -> Tensor:
        """Return the smooth lens's deflection `(2, H, W)`."""
        masses = profiles(values)[0]
        if float(self.at[PARAMETERS.index("gamma")]) == 2 and PARAMETERS.index("gamma") not in self.lens:
            named = {name: values[PARAMETERS.index(name)] for name in (*LENS[:1], *LENS[2:])}
            shear = Shear(named.pop("gamma1"), named.pop("gamma2"))
            masses = SIE(**named), shear  # a closed form
        parts = [mass.deflection(self.x, self.y) for mass in masses]
        return torch.stack([parts[0][axis] + parts[1][axis] for axis in (0, 1)])

    def _bent(self, where: Tensor) -> Tensor:
        """Return the clump's deflection `(2, H, W)`."""
        x, y, log10_m = where[:, None]
        return torch.stack(self.clump.profile(log10_m, x, y).deflection(self.x, self.y))

    def _shining(self, values: Tensor, beta_x: Tensor, beta_y: Tensor) -> Tensor:
        """Return the light before the PSF, per arcsec^2."""
        _, source, lens_light, _ = profiles(values)
        light = brightness(source, beta_x, beta_y)
        return light + brightness(lens_light, self.x, self.y) if self.smooth.lens_light else light

    def equations(
        self,
        images: Images,
        model: _Clumped,
        which: np.ndarray,
        parameters: np.ndarray,
        weights_in: np.ndarray | None = None,
        *,
        device: str = "cpu",
    ) -> Normal:
        """Return the normal equations of one job; arguments as of `darklens.fit.normal_equations`."""
        p = torch.from_numpy(parameters[0])
        values, where = p[: len(PARAMETERS)], p[len(PARAMETERS) :]
        clump, by_clump = _derivatives(self._bent, where, [0, 1, 2])
        moved = (values - self.at)[self.lens]
        beta = torch.stack([self.x, self.y]) - self.alpha - torch.einsum("k,kchw->chw", moved, self.slope) - clump
        light, gradient = _gradient(lambda bx, by: self._shining(values, bx, by), beta)
        by_light = [self._by(values, beta, k) for k in self.light]
        bending = -torch.einsum("chw,kchw->khw", gradient, torch.cat([self.slope, by_clump]))
        count = len(self.lens)
        columns = torch.cat([bending[:count], torch.stack(by_light), bending[count:]]) * images.pixel_scale**2
        blurred = images.psf.convolve(torch.cat([light[None] * images.pixel_scale**2, columns]), images.pixel_scale)
        sky = PARAMETERS.index("sky")
        if sky in self.light:
            blurred[1 + count + self.light.index(sky)] = 1
        return _normal(images, blurred[0], values[sky], blurred[1:], weights_in)

    def _by(self, values: Tensor, beta: Tensor, k: int) -> Tensor:
        tangent = torch.zeros_like(values)
        tangent[k] = 1
        return torch.func.jvp(lambda v: self._shining(v, *beta), (values,), (tangent,))[1]


def _derivatives(function: Callable[[Tensor], Tensor], at: Tensor, which: list[int]) -> tuple[Tensor, Tensor]:
    """Return a function's value and its derivatives by some of its numbers, stacked in front."""
    columns = []
    for tangent in torch.eye(len(at), dtype=at.dtype)[which]:
        value, column = torch.func.jvp(function, (at,), (tangent,))  # type: ignore[misc] # two, without `has_aux`
        columns.append(column)
    return value, torch.stack(columns)


def _gradient(light_at: Callable[[Tensor, Tensor], Tensor], beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the surface brightness and its gradient in the source plane, `(2, H, W)`."""
    one, zero = torch.ones_like(beta[0]), torch.zeros_like(beta[0])
    light, by_x = torch.func.jvp(light_at, tuple(beta), (one, zero))  # type: ignore[misc] # two, without `has_aux`
    by_y = torch.func.jvp(light_at, tuple(beta), (zero, one))[1]
    return light, torch.stack([by_x, by_y])


def _normal(images: Images, flux: Tensor, sky: Tensor, jacobian: Tensor, weights_in: np.ndarray | None) -> Normal:
    v0, v1 = torch.from_numpy(images.v0[0]), float(images.v1[0])
    weights = torch.where(v0 > 0, 1 / (v0 + v1 * flux.clamp_min(0)), 0.0)
    residual = torch.from_numpy(images.data[0]) - flux - sky
    weighted = (jacobian * weights).flatten(1)
    cost_in = 0.0 if weights_in is None else float((torch.from_numpy(weights_in[0]) * residual**2).sum())
    return Normal(
        np.array([cost_in]),
        np.array([float((weights * residual**2).sum())]),
        (weighted @ jacobian.flatten(1).T)[None].numpy(),
        (weighted @ residual.flatten())[None].numpy(),
        weights[None].numpy(),
        (flux + sky)[None].numpy(),
        jacobian[None].numpy(),
    )
