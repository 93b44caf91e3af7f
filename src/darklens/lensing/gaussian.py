"""Gaussian light profiles, circular and elliptical; sums of them describe any galaxy (Cappellari 2002)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Light, Parameter, around, as_tensor, spread


class _Gaussian(Light):
    """What both share: the amplitude is the total flux."""

    amp: Parameter
    sigma: Parameter

    def total_flux(self) -> Parameter:
        """Return the flux out to infinity."""
        return self.amp

    def _at(self, square: Tensor) -> Tensor:
        variance = as_tensor(self.sigma, square) ** 2
        return spread(self.amp) / (2 * math.pi * variance) * (-0.5 * square / variance).exp()


@dataclass(frozen=True)
class Gaussian(_Gaussian):
    """Circular Gaussian.

    Args:
        amp: total flux.
        sigma: standard deviation, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    sigma: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return self._at(x * x + y * y)


@dataclass(frozen=True)
class GaussianEllipse(_Gaussian):
    """Elliptical Gaussian on the intermediate axis.

    Args:
        amp: total flux.
        sigma: standard deviation on the intermediate axis, arcsec.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    sigma: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        wx, wy, area = around(self, x, y)
        return self._at((wx * wx + wy * wy) / area)
