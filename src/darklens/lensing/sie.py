"""Singular isothermal ellipsoid (Kormann, Schneider & Bartelmann 1994, A&A 284, 285)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Mass, Parameter, axis_ratio_and_angle, safe_sqrt, spread

ROUND = 1e-3
"""Below this `f = sqrt(1 - q^2)` the deflection is taken from its series in f^2, where the closed form divides zero by zero."""


@dataclass(frozen=True)
class SIE(Mass):
    """Singular isothermal ellipsoid, Einstein radius on the intermediate axis.

    `kappa = theta_E / (2 sqrt(q x^2 + y^2/q))` in the frame of the major axis; with `f = sqrt(1 - q^2)`,
    `P = sqrt(q^2 x^2 + y^2)`: `alpha_x = theta_E sqrt(q)/f atan(f x/P)`, `alpha_y = theta_E sqrt(q)/f atanh(f y/P)`
    (KSB94 eq. 27a). The limit q -> 1 is `SIS`.

    Args:
        theta_E: Einstein radius, arcsec.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        q, cos, sin = axis_ratio_and_angle(self.e1, self.e2, x)
        return cos * x + sin * y, cos * y - sin * x, q, cos, sin

    def _deflection_in_frame(self, x: Tensor, y: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        scale = spread(self.theta_E) * q.sqrt()
        square = (1 - q) * (1 + q)  # f^2, without the cancellation of 1 - q^2
        nearly_round = square < ROUND**2
        f = torch.where(nearly_round, torch.ones_like(square), square).sqrt()
        p = safe_sqrt(q * q * x * x + y * y)
        p = p + (p == 0)
        u, v = x / p, y / p
        # atan(f u)/f = u - f^2 u^3/3 + ...; atanh(f v)/f = v + f^2 v^3/3 + ...
        ax = torch.where(nearly_round, u - square * u**3 / 3, torch.atan(f * u) / f)
        ay = torch.where(
            nearly_round, v + square * v**3 / 3, torch.atanh(torch.where(nearly_round, torch.zeros_like(v), f * v)) / f
        )
        return scale * ax, scale * ay

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        x, y, q, cos, sin = self._frame(x, y)
        ax, ay = self._deflection_in_frame(x, y, q)
        return cos * ax - sin * ay, sin * ax + cos * ay

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: `psi = x alpha_x + y alpha_y`, the profile being isothermal."""
        x, y, q, _, _ = self._frame(x, y)
        ax, ay = self._deflection_in_frame(x, y, q)
        return x * ax + y * ay

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; infinite at the centre."""
        x, y, q, _, _ = self._frame(x, y)
        return 0.5 * spread(self.theta_E) / safe_sqrt(q * x * x + y * y / q)
