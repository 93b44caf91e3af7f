"""Many truncated haloes, plain or cored, as one profile.

A circular halo deflects by `alpha(r) = alpha_1 m(x)/x` with `x = r/Rs` and m the projected mass within x, in closed form. The
sum runs over the haloes in a loop, as that over point masses does: temporaries have the size of the image.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darklens.lensing.base import Mass, spread, zeros

MIDDLE = 1e-10
"""Square of the radius, arcsec, inside which the deflection is linear: single precision loses there what its terms leave over."""
NEAR_ONE = 1e-3
"""Nearer to x = 1 than this the NFW function is its Taylor series: the closed form is 0/0 there."""


class _Halos(Mass):
    """Haloes with parameters `(*batch, N)`, their sum over the last axis; `alpha_Rs = 0` where there is none."""

    alpha_Rs: Tensor
    Rs: Tensor
    center_x: Tensor
    center_y: Tensor

    @abstractmethod
    def _constants(self) -> tuple[Tensor, ...]:
        """Return what `_circular` needs of each halo, `(*batch, N)` each, the factor on the deflection first."""

    @staticmethod
    @abstractmethod
    def _circular(x: Tensor, *constants: Tensor) -> Tensor:
        """Return the deflection of one halo at x = r/Rs."""

    def _each(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]]:
        """Yield of each halo the offsets from it, their length, 1/Rs and the constants."""
        columns = (self.center_x, self.center_y, 1 / self.Rs, *self._constants())
        for px, py, per_Rs, *constants in zip(*(c.unbind(-1) for c in columns), strict=True):
            dx, dy = x - spread(px), y - spread(py)
            r = torch.addcmul(dx * dx, dy, dy).clamp_min(MIDDLE).sqrt()
            yield dx, dy, r, spread(per_Rs), [spread(c) for c in constants]  # type: ignore[misc]

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero in the middle of a halo."""
        alpha_x = alpha_y = zeros(x, y, self.alpha_Rs.sum(-1))
        for dx, dy, r, per_Rs, constants in self._each(x, y):
            scale = self._circular(r * per_Rs, *constants) / r
            alpha_x, alpha_y = torch.addcmul(alpha_x, scale, dx), torch.addcmul(alpha_y, scale, dy)
        return alpha_x, alpha_y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential in arcsec^2, zero in the middle of a halo.

        It is the integral of the deflection, by Gauss and Legendre in `sqrt(r'/r)` to 1e-7: a closed form needs dilogarithms.
        """
        nodes, weights = np.polynomial.legendre.leggauss(24)
        total = zeros(x, y, self.alpha_Rs.sum(-1))
        for _, _, r, per_Rs, constants in self._each(x, y):
            for node, weight in zip(0.5 * (nodes + 1), 0.5 * weights, strict=True):
                total = total + (2 * node * weight) * r * self._circular(r * per_Rs * node**2, *constants)
        return total


@dataclass(frozen=True)
class TNFWHalos(_Halos):
    """Many truncated NFW haloes, `rho ~ 1/[x (1+x)^2] tau^2/(tau^2+x^2)` (Baltz, Marshall & Oguri 2009, JCAP 01, 015, eq. A.11).

    Args:
        alpha_Rs: deflection at `Rs` of each halo before truncation, arcsec (lenstronomy's TNFW).
        Rs: scale radii, arcsec.
        r_trunc: truncation radii, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    alpha_Rs: Tensor
    Rs: Tensor
    r_trunc: Tensor
    center_x: Tensor
    center_y: Tensor

    def _constants(self) -> tuple[Tensor, ...]:
        tau = self.r_trunc / self.Rs
        square = tau * tau
        factor = self.alpha_Rs / (1 - math.log(2)) * (square / (square + 1) ** 2)
        return factor, tau, square, tau * math.pi + (square - 1) * tau.log(), (square - 1) / tau

    @staticmethod
    def _circular(x: Tensor, *constants: Tensor) -> Tensor:
        factor, tau, tau_2, middle, weight = constants
        square = x * x
        s = (tau_2 + square).sqrt()
        outer = s * (weight * (x / (s + tau)).log() - math.pi)
        return factor / x * torch.addcmul(middle + outer, tau_2 - 1 + 2 * square, nfw_function(x))


@dataclass(frozen=True)
class CoredTNFWHalos(_Halos):
    """Many cored truncated haloes, `rho ~ 1/[sqrt(beta^2+x^2) (1+x^2) (1+x^2/tau^2)]` (lenstronomy's TNFWC).

    In partial fractions the density is a difference of two terms over `a^2 + x^2` with a = 1 and a = tau, and the projected mass of
    each is `(2/d) [s artanh(d/s) - a artanh(d/a)]` with `d^2 = a^2 - beta^2`, `s^2 = a^2 + x^2`; what else there is cancels.

    Args:
        alpha_Rs: deflection at `Rs` of each halo, arcsec.
        Rs: scale radii, arcsec.
        r_trunc: truncation radii, arcsec, other than `Rs`.
        r_core: core radii, arcsec, below `Rs` and `r_trunc`.
        center_x: arcsec.
        center_y: arcsec.
    """

    alpha_Rs: Tensor
    Rs: Tensor
    r_trunc: Tensor
    r_core: Tensor
    center_x: Tensor
    center_y: Tensor

    def _constants(self) -> tuple[Tensor, ...]:
        tau, beta = self.r_trunc / self.Rs, self.r_core / self.Rs
        one = torch.ones_like(tau)
        roots = [(a, (a * a - beta * beta).sqrt()) for a in (one, tau)]
        middle = [(a * a, d, 2 * a / d * ((a + d) / beta).log()) for a, d in roots]
        (_, d_1, m_1), (tau_2, d_tau, m_tau) = middle
        unit = self._circular(one, one, beta * beta, d_1, tau_2, d_tau, m_tau - m_1)
        return self.alpha_Rs / unit, beta * beta, d_1, tau_2, d_tau, m_tau - m_1

    @staticmethod
    def _circular(x: Tensor, *constants: Tensor) -> Tensor:
        factor, beta_2, d_1, tau_2, d_tau, middle = constants
        square = x * x
        half_log = 0.5 * (beta_2 + square).log()
        mass = middle
        for sign, a_2, d in ((2, 1.0, d_1), (-2, tau_2, d_tau)):
            s = (a_2 + square).sqrt()
            mass = mass + sign * s / d * ((s + d).log() - half_log)  # artanh(d/s) = ln[(s + d)/sqrt(beta^2 + x^2)]
        return factor / x * mass


def nfw_function(x: Tensor) -> Tensor:
    """Return `arccos(1/x)/sqrt(x^2-1)`, as `artanh(w)/w` inside x = 1, where `w^2 = 1 - x^2`, and its series about x = 1."""
    gap = 1 - x * x
    near = gap.abs() < NEAR_ONE
    w = torch.where(near, 0.5, gap).abs().sqrt()
    inside = ((1 + w.clamp_max(1 - 1e-12)) / x).log()  # artanh(w) = ln[(1 + w)/x], without a difference to cancel
    closed = torch.where(gap > 0, inside, w.atan()) / w
    return torch.where(near, 1 + gap / 3 + gap * gap / 5, closed)
