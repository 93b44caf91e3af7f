"""Elliptical power law (Tessore & Metcalf 2015, A&A 580, A79)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Mass, Parameter, axis_ratio_and_angle, safe_sqrt, spread

TERMS = 40
"""Terms of the angular series. They fall as `f^n`, `f = (1-q)/(1+q)`: at e = 0.4 the rest is below 1e-16 of the deflection."""


@dataclass(frozen=True)
class EPL(Mass):
    """Elliptical power law, `kappa = (2 - t)/2 (b/R)^t` with `t = gamma - 1`, `R^2 = q^2 x^2 + y^2`, `b = theta_E sqrt(q)`.

    The complex deflection is `2b/(1+q) (b/R)^(t-1) Omega(phi)` (TM15 eq. 13), with the angular part as a fixed number of terms
    of its series (eq. 29): differentiable, without branches. `gamma = 2` is `SIE`.

    Args:
        theta_E: Einstein radius on the intermediate axis, arcsec.
        gamma: logarithmic slope of the mass density, 1 to 3.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Parameter
    gamma: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        q, cos, sin = axis_ratio_and_angle(self.e1, self.e2, x)
        x, y = cos * x + sin * y, cos * y - sin * x
        radius = safe_sqrt(q * q * x * x + y * y)
        return x, y, radius, q, cos, sin

    def _deflection_in_frame(self, x: Tensor, y: Tensor, radius: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        t = spread(self.gamma) - 1.0
        r = radius + (radius == 0)
        cos, sin = q * x / r, y / r
        f = (1 - q) / (1 + q)
        cos2, sin2 = cos * cos - sin * sin, 2 * sin * cos
        term_x, term_y, sum_x, sum_y = cos, sin, cos, sin
        for n in range(1, TERMS):
            factor = -f * (2 * n - (2 - t)) / (2 * n + (2 - t))
            term_x, term_y = factor * (cos2 * term_x - sin2 * term_y), factor * (cos2 * term_y + sin2 * term_x)
            sum_x, sum_y = sum_x + term_x, sum_y + term_y
        b = spread(self.theta_E) * q.sqrt()
        scale = 2 * b / (1 + q) * (b / r) ** (t - 1)
        return scale * sum_x, scale * sum_y

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        x, y, radius, q, cos, sin = self._frame(x, y)
        ax, ay = self._deflection_in_frame(x, y, radius, q)
        return cos * ax - sin * ay, sin * ax + cos * ay

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: `psi = (x alpha_x + y alpha_y) / (2 - t)` (TM15 eq. 15)."""
        x, y, radius, q, _, _ = self._frame(x, y)
        ax, ay = self._deflection_in_frame(x, y, radius, q)
        return (x * ax + y * ay) / (3.0 - spread(self.gamma))

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; infinite at the centre."""
        _, _, radius, q, _, _ = self._frame(x, y)
        t = spread(self.gamma) - 1.0
        return 0.5 * (2 - t) * (spread(self.theta_E) * torch.sqrt(q) / radius) ** t
