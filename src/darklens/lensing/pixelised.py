"""Profiles given by pixels: a perturbation of the potential, and a galaxy's image as a source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing.base import Light, Mass, Parameter, spread
from darklens.lensing.spline import basis, cell, coefficients, gather, linear


@dataclass(frozen=True)
class PixelisedPotential(Mass):
    """A correction of the lensing potential on a grid, a cubic spline through its values, zero outside (Koopmans 2005).

    Deflection and convergence are the spline's own derivatives.

    Args:
        psi: `(*batch, n, m)` potential at the pixel centres, arcsec^2; rows go up with y.
        pixel_scale: arcsec.
        center_x: of the grid, arcsec.
        center_y: arcsec.

    Raises:
        InputError: a grid of fewer than 4x4 values, or a scale that is not positive.
    """

    psi: Tensor
    pixel_scale: float
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def __post_init__(self) -> None:
        _check(self.psi, self.pixel_scale, "potential")

    def _derivative(self, x: Tensor, y: Tensor, across: int, up: int) -> Tensor:
        n, m = self.psi.shape[-2:]
        column, s = cell((x - spread(self.center_x)) / self.pixel_scale + (m - 1) / 2, m)
        row, t = cell((y - spread(self.center_y)) / self.pixel_scale + (n - 1) / 2, n)
        value = gather(coefficients(self.psi.to(x.dtype)), column, row, basis(s, across), basis(t, up))
        return value / self.pixel_scale ** (across + up)

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        return self._derivative(x, y, 1, 0), self._derivative(x, y, 0, 1)

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        return self._derivative(x, y, 0, 0)

    def hessian(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the second derivatives of the potential."""
        return self._derivative(x, y, 2, 0), self._derivative(x, y, 1, 1), self._derivative(x, y, 0, 2)


@dataclass(frozen=True)
class PixelisedLight(Light):
    """The image of a galaxy as a source, interpolated between its pixels, zero outside.

    Args:
        image: `(*batch, n, m)` flux of each pixel; rows go up with y before the rotation.
        pixel_scale: arcsec.
        amp: factor on the flux.
        center_x: of the image, arcsec.
        center_y: arcsec.
        angle: rotation, rad counter-clockwise.
        cubic: a cubic spline through the pixels, smooth but with overshoots at sharp edges; else straight lines.

    Raises:
        InputError: an image of fewer than 4x4 pixels, or a scale that is not positive.
    """

    image: Tensor
    pixel_scale: float
    amp: Parameter = 1.0
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0
    angle: Parameter = 0.0
    cubic: bool = True

    def __post_init__(self) -> None:
        _check(self.image, self.pixel_scale, "image")

    def total_flux(self) -> Tensor:
        """Return the flux of all pixels."""
        return self.amp * self.image.sum((-2, -1))

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        angle = torch.as_tensor(spread(self.angle), dtype=x.dtype, device=x.device)
        n, m = self.image.shape[-2:]
        column, s = cell((x * angle.cos() + y * angle.sin()) / self.pixel_scale + (m - 1) / 2, m)
        row, t = cell((y * angle.cos() - x * angle.sin()) / self.pixel_scale + (n - 1) / 2, n)
        image = self.image.to(x.dtype)
        grid, weights = (coefficients(image), basis) if self.cubic else (image, linear)
        return spread(self.amp) / self.pixel_scale**2 * gather(grid, column, row, weights(s), weights(t))


def _check(grid: Tensor, pixel_scale: float, what: str) -> None:
    if grid.ndim < 2 or min(grid.shape[-2:]) < 4:
        raise InputError(f"{what} of shape {tuple(grid.shape)}: give at least 4x4 pixels on the last two axes")
    if not pixel_scale > 0:
        raise InputError(f'{what} with {pixel_scale}" a pixel: the scale must be positive; give arcsec')
