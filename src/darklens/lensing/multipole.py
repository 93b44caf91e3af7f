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
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        square = x * x + y * y
        there = square > CORE  # the centre has no direction
        r, phi = torch.where(there, square, 1.0).sqrt(), torch.atan2(torch.where(there, y, 0.0), torch.where(there, x, 1.0))
        m, a = as_tensor(self.m, r), as_tensor(self.a_m, r)
        angle = m * (phi - as_tensor(self.phi_m, r))
        return there, r, phi, m, a, angle, m == 1

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very centre."""
        there, r, phi, m, a, angle, first = self._polar(x, y)
        other = a / torch.where(first, 1.0, 1 - m * m)
        log = (r / as_tensor(self.r_E, r)).log()
        radial = torch.where(first, 0.5 * a * (log + 1), other) * angle.cos()
        around = torch.where(first, -0.5 * a * log, -m * other) * angle.sin()
        radial, around = radial * there, around * there
        return radial * phi.cos() - around * phi.sin(), radial * phi.sin() + around * phi.cos()

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        there, r, _, m, a, angle, first = self._polar(x, y)
        log = (r / as_tensor(self.r_E, r)).log()
        return r * there * torch.where(first, 0.5 * a * log, a / torch.where(first, 1.0, 1 - m * m)) * angle.cos()

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; zero at the very centre."""
        there, r, _, _, a, angle, _ = self._polar(x, y)
        return 0.5 * a / r * angle.cos() * there
