"""Sersic light profiles (Sersic 1968), circular and elliptical."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Light, Parameter, around, as_tensor, spread

SMOOTHING = 1e-4
"""Radius in arcsec inside which the profile is flat, as in lenstronomy: its cusp has no derivative."""


def b_n(n_sersic: Parameter) -> Parameter:
    """Return `1.9992 n - 0.3271`, the linear fit to the half-light condition that lenstronomy uses (at least 1e-5)."""
    b = 1.9992 * n_sersic - 0.3271
    return b.clamp_min(1e-5) if isinstance(b, Tensor) else max(b, 1e-5)


class _Sersic(Light):
    """What the circular and the elliptical profile share: the ellipticity does not change the flux."""

    amp: Parameter
    R_sersic: Parameter
    n_sersic: Parameter

    def total_flux(self) -> Parameter:
        """Return the flux out to infinity."""
        return self.amp * _flux_per_amp(self.R_sersic, self.n_sersic)

    @staticmethod
    def amp_for_flux(flux: Parameter, R_sersic: Parameter, n_sersic: Parameter) -> Parameter:
        """Return the amplitude with which the profile has this total flux."""
        return flux / _flux_per_amp(R_sersic, n_sersic)

    def _at(self, square: Tensor) -> Tensor:
        """Return the surface brightness at squared radii."""
        n = as_tensor(self.n_sersic, square)
        reduced = square.clamp_min(SMOOTHING**2) / spread(self.R_sersic) ** 2
        power = torch.exp(reduced.log() * (0.5 / n))  # (R/R_sersic)^(1/n), in half the time of pow
        return spread(self.amp) * b_n(n).exp() * torch.exp(-b_n(n) * power)  # type: ignore[union-attr]


@dataclass(frozen=True)
class Sersic(_Sersic):
    """Circular Sersic profile, `I = amp exp(-b_n [(r/R_sersic)^(1/n) - 1])`.

    Args:
        amp: surface brightness at `R_sersic`, flux/arcsec^2.
        R_sersic: half-light radius, arcsec.
        n_sersic: index; 1 is an exponential disc, 4 de Vaucouleurs.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    R_sersic: Parameter
    n_sersic: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return self._at(x * x + y * y)


@dataclass(frozen=True)
class SersicEllipse(_Sersic):
    """Elliptical Sersic profile on the intermediate axis, `R^2 = q x^2 + y^2/q` in the frame of the major axis.

    Args:
        amp: surface brightness at `R_sersic`, flux/arcsec^2.
        R_sersic: half-light radius, arcsec.
        n_sersic: index.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    R_sersic: Parameter
    n_sersic: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        wx, wy, area = around(self, x, y)
        return self._at((wx * wx + wy * wy) / area)


def _flux_per_amp(R_sersic: Parameter, n_sersic: Parameter) -> Parameter:
    """Total flux of a profile with unit amplitude: `2 pi n R^2 e^b b^(-2n) Gamma(2n)` (Graham & Driver 2005, eq. 4)."""
    b = b_n(n_sersic)
    if isinstance(n_sersic, Tensor):
        log_flux = b - 2 * n_sersic * b.log() + torch.lgamma(2 * n_sersic)  # type: ignore[union-attr]
        return 2 * math.pi * n_sersic * R_sersic**2 * log_flux.exp()
    return 2 * math.pi * n_sersic * R_sersic**2 * math.exp(b - 2 * n_sersic * math.log(b) + math.lgamma(2 * n_sersic))
