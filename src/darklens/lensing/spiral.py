"""Discs with structure that no Sersic profile has: spiral arms, and rings that may be arcs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Light, Parameter, around, as_tensor, spread
from darklens.lensing.sersic import SMOOTHING, SersicEllipse, b_n

DISC = 1.0
"""Sersic index of an exponential disc."""


@dataclass(frozen=True)
class Spiral(Light):
    """Exponential disc with logarithmic arms, `I = I_disc(R) [1 + s t cos(m (phi - phi_0 - cot(pitch) ln(R/R_sersic)))]`.

    phi is the angle in the plane of the disc (of the map w in `lensing.base`), and `t = R^2 / (R^2 + (R_sersic/3)^2)` lets the arms
    begin outside the middle, where their pattern would wind without end. Over a full turn the arms take what they give: the flux
    is that of the disc. The logarithmic spiral: Kennicutt 1981, AJ 86, 1847.

    Args:
        amp: mean surface brightness at `R_sersic`, flux/arcsec^2.
        R_sersic: half-light radius, arcsec.
        arms: their number m.
        strength: contrast s of the arms, 0 to 1.
        pitch: pitch angle in radians; galaxies have 0.1 to 0.6.
        phase: direction phi_0 of an arm at `R_sersic`, radians.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    R_sersic: Parameter
    arms: Parameter
    strength: Parameter
    pitch: Parameter
    phase: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        wx, wy, area = around(self, x, y)
        square = ((wx * wx + wy * wy) / area).clamp_min(SMOOTHING**2) / as_tensor(self.R_sersic, wx) ** 2
        winding = 0.5 * square.log() / torch.tan(as_tensor(self.pitch, wx))
        wave = torch.cos(as_tensor(self.arms, wx) * (torch.atan2(wy, wx) - as_tensor(self.phase, wx) - winding))
        disc = spread(self.amp) * torch.exp(-b_n(DISC) * (square.sqrt() - 1))
        return disc * (1 + as_tensor(self.strength, wx) * square / (square + 1 / 9) * wave)

    def total_flux(self) -> Parameter:
        """Return the flux out to infinity, that of the disc."""
        index = torch.full_like(self.R_sersic, DISC) if isinstance(self.R_sersic, Tensor) else DISC
        return SersicEllipse(self.amp, self.R_sersic, index, 0.0, 0.0).total_flux()


@dataclass(frozen=True)
class Ring(Light):
    """A ring, or part of one: `I = amp exp(-(R - radius)^2 / (2 sigma^2)) exp(c (cos(phi - phi_0) - 1))`.

    R is the elliptical radius on the intermediate axis, phi the angle in the plane of the ring. With c = 0 the ring is whole; with
    c = 4 it is an arc of 60 degrees (half its peak at phi_0 +- 34 degrees).

    Args:
        amp: surface brightness on the crest at phi_0, flux/arcsec^2.
        radius: radius of the crest, arcsec.
        sigma: its width, arcsec.
        concentration: c, how much of it stands about phi_0 (von Mises).
        phase: phi_0 in radians.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    radius: Parameter
    sigma: Parameter
    concentration: Parameter
    phase: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness, flux/arcsec^2."""
        wx, wy, area = around(self, x, y)
        modulus = (wx * wx + wy * wy).clamp_min(SMOOTHING**2).sqrt()
        across = (modulus / area.sqrt() - as_tensor(self.radius, wx)) / as_tensor(self.sigma, wx)
        phase = as_tensor(self.phase, wx)
        cos = (wx * torch.cos(phase) + wy * torch.sin(phase)) / modulus
        return spread(self.amp) * torch.exp(-0.5 * across * across + as_tensor(self.concentration, wx) * (cos - 1))

    def total_flux(self) -> Parameter:
        """Return the flux out to infinity.

        `2 pi e^-c I0(c)` around, and `sigma^2 e^(-u^2) + radius sigma sqrt(pi/2) erfc(-u)` across, with `u = radius/(sqrt2 sigma)`.
        """
        radius, sigma, c = (torch.as_tensor(p, dtype=torch.float64) for p in (self.radius, self.sigma, self.concentration))
        u = radius / sigma / math.sqrt(2)
        across = sigma**2 * torch.exp(-u * u) + radius * sigma * math.sqrt(math.pi / 2) * torch.erfc(-u)
        return self.amp * across * 2 * math.pi * torch.special.i0e(c)
