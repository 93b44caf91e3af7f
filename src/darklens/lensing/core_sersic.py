"""Core-Sersic light profile: a Sersic profile whose middle is a power law (Trujillo et al. 2004, AJ 127, 1917, eq. 5)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Light, Parameter, around, as_tensor, spread
from darklens.lensing.sersic import SMOOTHING, b_n

SHARPNESS = 3.0
"""Exponent of the transition between core and Sersic profile, as in lenstronomy."""


@dataclass(frozen=True)
class CoreSersic(Light):
    """`I = amp [1 + (Rb/R)^a]^(gamma/a) exp(-b_n {[(R^a + Rb^a)/R_sersic^a]^(1/(n a)) - 1})`, a = 3, R on the intermediate axis.

    Args:
        amp: surface brightness scale at `R_sersic`, flux/arcsec^2.
        R_sersic: half-light radius of the outer profile, arcsec.
        Rb: break radius, arcsec.
        n_sersic: index of the outer profile.
        gamma: slope of the core.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    R_sersic: Parameter
    Rb: Parameter
    n_sersic: Parameter
    gamma: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        wx, wy, area = around(self, x, y)
        R = ((wx * wx + wy * wy) / area).clamp_min(SMOOTHING**2).sqrt()
        Rb, n = as_tensor(self.Rb, R), as_tensor(self.n_sersic, R)
        core = (1 + (Rb / R) ** SHARPNESS) ** (as_tensor(self.gamma, R) / SHARPNESS)
        reduced = (R**SHARPNESS + Rb**SHARPNESS) / as_tensor(self.R_sersic, R) ** SHARPNESS
        return spread(self.amp) * core * (-b_n(n) * (reduced ** (1 / (SHARPNESS * n)) - 1)).exp()
