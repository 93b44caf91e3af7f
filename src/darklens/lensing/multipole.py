"""Multipoles of an isothermal lens: lopsided (m = 1), triangular (3), boxy or discy (4) (Xu et al. 2015, MNRAS 447, 3189)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, as_tensor, spread


@dataclass(frozen=True)
class Multipole(Mass):
    """Perturbation `kappa = a_m/(2r) cos m(phi - phi_m)`, `psi = a_m r/(1 - m^2) cos m(phi - phi_m)` (Xu et al. 2015, B3).

    For m = 1 the potential is `a_m/2 r ln(r/r_E) cos(phi - phi_m)`.

    Args:
        m: order, a whole number from 1 up.
        a_m: strength, arcsec.
        phi_m: orientation, rad from +x.
        center_x: arcsec.
        center_y: arcsec.
        r_E: radius where the potential of m = 1 changes sign, arcsec.
    """

    m: Parameter
    a_m: Parameter
    phi_m: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0
    r_E: Parameter = 1.0

    def _polar(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Return where there is a direction, the radius, its direction, and cosine and sine of `m (phi - phi_m)`."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        square = x * x + y * y
        there = square > CORE  # the centre has no direction
        r = torch.where(there, square, 1.0).sqrt()
        right, up = torch.where(there, x, 1.0) / r, torch.where(there, y, 0.0) / r
        turn = as_tensor(self.m, r) * as_tensor(self.phi_m, r)
        if isinstance(self.m, int | float) and self.m == round(self.m):  # powers of the direction: a tenth of an arctangent's price
            real, imaginary = right, up
            for _ in range(round(self.m) - 1):
                real, imaginary = real * right - imaginary * up, real * up + imaginary * right
            return there, r, right, up, real * turn.cos() + imaginary * turn.sin(), imaginary * turn.cos() - real * turn.sin()
        angle = as_tensor(self.m, r) * torch.atan2(up, right) - turn
        return there, r, right, up, angle.cos(), angle.sin()

    def _profile(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return how the potential, divided by the radius, and the deflection along the radius go with it."""
        a = as_tensor(self.a_m, r)
        if isinstance(self.m, int | float) and self.m != 1:
            other = a / (1 - self.m * self.m)
            return other, other
        m, log = as_tensor(self.m, r), (r / as_tensor(self.r_E, r)).log()
        first = m == 1
        other = a / torch.where(first, 1.0, 1 - m * m)
        return torch.where(first, 0.5 * a * log, other), torch.where(first, 0.5 * a * (log + 1), other)

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very centre."""
        there, r, right, up, cos, sin = self._polar(x, y)
        level, slope = self._profile(r)
        radial, around = slope * there * cos, -as_tensor(self.m, r) * level * there * sin
        return radial * right - around * up, radial * up + around * right

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        there, r, _, _, cos, _ = self._polar(x, y)
        return r * there * self._profile(r)[0] * cos

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; zero at the very centre."""
        there, r, _, _, cos, _ = self._polar(x, y)
        return 0.5 * as_tensor(self.a_m, r) / r * cos * there
