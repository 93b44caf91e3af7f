"""The Navarro-Frenk-White halo (Navarro, Frenk & White 1997), whole, truncated, and truncated with a core, one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, as_tensor, spread
from darklens.lensing.tnfw_halos import CoredTNFWHalos, TNFWHalos, nfw_function

SERIES = {torch.float32: 0.3, torch.float64: 0.02}
"""x below which the enclosed mass is its series: `ln(x/2)` and `F(x)` cancel there."""
_PER_W = (1, 1 / 2, 3 / 8, 5 / 16, 35 / 128, 63 / 256)
_LOG = (0, 1 / 4, 3 / 32, 5 / 96, 35 / 1024, 63 / 2560)
"""Coefficients of x^2 in `1/w` and in `-ln[(1 + w)/2]`, `w^2 = 1 - x^2`."""


@dataclass(frozen=True)
class NFW(Mass):
    """NFW halo, `alpha = alpha_Rs/(1 - ln 2) [ln(x/2) + F(x)]/x` with x = r/Rs (Wright & Brainerd 2000, ApJ 534, 34).

    Args:
        Rs: scale radius, arcsec.
        alpha_Rs: deflection at `Rs`, arcsec (lenstronomy's parameter).
        center_x: arcsec.
        center_y: arcsec.
    """

    Rs: Parameter
    alpha_Rs: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _radii(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        r = (x * x + y * y).clamp_min(CORE).sqrt()
        return x, y, r, r / as_tensor(self.Rs, r)

    def _scale(self, like: Tensor) -> Tensor:
        return as_tensor(self.alpha_Rs, like) / (1 - math.log(2))

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero in the middle."""
        x, y, r, u = self._radii(x, y)
        scale = self._scale(r) * _enclosed(u) / (u * r)
        return scale * x, scale * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: `ln^2(x/2) - arcosh^2(1/x)` halved (Meneghetti et al. 2003), times the scales."""
        _, _, r, u = self._radii(x, y)
        F = nfw_function(u)
        return 0.5 * self._scale(r) * as_tensor(self.Rs, r) * ((0.5 * u).log().square() - (1 - u * u) * F * F)

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence, `(1 - F)/(x^2 - 1)` times the scales; it grows as ln x to the centre."""
        _, _, r, u = self._radii(x, y)
        gap = 1 - u * u
        near = gap.abs() < 1e-3
        closed = (nfw_function(u) - 1) / torch.where(near, 1.0, gap)
        shape = torch.where(near, 1 / 3 + gap / 5 + gap * gap / 7, closed)
        return 0.5 * self._scale(r) / as_tensor(self.Rs, r) * shape


def _enclosed(x: Tensor) -> Tensor:
    """Return `ln(x/2) + F(x)`, the mass within x."""
    small = x < SERIES.get(x.dtype, 0.3)
    closed = (0.5 * x).log() + nfw_function(torch.where(small, 0.5, x))
    square, log = x * x, (2 / x).log()
    total, power = torch.zeros_like(x), torch.ones_like(x)
    for k in range(1, len(_PER_W)):
        power = power * square
        total = total + power * (_PER_W[k] * log - sum(_LOG[j] * _PER_W[k - j] for j in range(1, k + 1)))
    return torch.where(small, total, closed)


class _One(Mass):
    """One halo, by the formulas of many."""

    center_x: Parameter
    center_y: Parameter

    def _as_many(self, like: Tensor) -> Mass:
        kind = TNFWHalos if isinstance(self, TNFW) else CoredTNFWHalos
        values = {f.name: torch.as_tensor(getattr(self, f.name), dtype=like.dtype, device=like.device) for f in fields(self)}
        return kind(**{name: value[..., None] for name, value in values.items()})

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero in the middle."""
        return self._as_many(x).deflection(x, y)

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2, zero in the middle, by quadrature to 1e-7."""
        return self._as_many(x).potential(x, y)


@dataclass(frozen=True)
class TNFW(_One):
    """Truncated NFW halo, `rho ~ 1/[x (1+x)^2] tau^2/(tau^2+x^2)` (Baltz, Marshall & Oguri 2009, JCAP 01, 015); see `TNFWHalos`.

    Args:
        Rs: scale radius, arcsec.
        alpha_Rs: deflection at `Rs` before truncation, arcsec.
        r_trunc: truncation radius, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    Rs: Parameter
    alpha_Rs: Parameter
    r_trunc: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0


@dataclass(frozen=True)
class CoredTNFW(_One):
    """Truncated halo with a core, `rho ~ 1/[sqrt(beta^2+x^2) (1+x^2) (1+x^2/tau^2)]`; see `CoredTNFWHalos`.

    Args:
        Rs: scale radius, arcsec.
        alpha_Rs: deflection at `Rs`, arcsec.
        r_core: core radius, arcsec, below `Rs` and `r_trunc`.
        r_trunc: truncation radius, arcsec, other than `Rs`.
        center_x: arcsec.
        center_y: arcsec.
    """

    Rs: Parameter
    alpha_Rs: Parameter
    r_core: Parameter
    r_trunc: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0
