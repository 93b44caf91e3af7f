"""Singular isothermal ellipsoid (Kormann, Schneider & Bartelmann 1994, A&A 284, 285)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, around, as_tensor, ellipse, nonzero, spread

ROUND = 1e-4
"""Ellipticity below which the deflection is its series in e; the closed form divides zero by zero. The rest is `e^3/7`."""


@dataclass(frozen=True)
class SIE(Mass):
    """Singular isothermal ellipsoid, Einstein radius on the intermediate axis: `kappa = theta_E / (2 sqrt(q x^2 + y^2/q))`.

    In the frame of the major axis, with `f = sqrt(1 - q^2)` and `P = sqrt(q^2 x^2 + y^2)` (KSB94 eq. 27a),
    `alpha_x = theta_E sqrt(q)/f atan(f x/P)`, `alpha_y = theta_E sqrt(q)/f atanh(f y/P)`. In terms of e and the map w of
    `ellipse`, `f/P = 2 sqrt(e)/|w|` and `sqrt(q)/f = sqrt(1 - e^2) / (2 sqrt(e))`. The limit e -> 0 is `SIS`.

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

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very centre, where it has no direction."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        e1, e2 = as_tensor(self.e1, x), as_tensor(self.e2, x)
        wx, wy, area = ellipse(x, y, e1, e2)
        per_w = nonzero(wx * wx + wy * wy).rsqrt()
        scale = spread(self.theta_E) * area.sqrt()
        is_round = e1 * e1 + e2 * e2 < ROUND**2
        series = _series(wx * per_w, wy * per_w, e1, e2)
        closed = _closed_form(x, y, per_w, torch.where(is_round, 0.1, e1), torch.where(is_round, 0.0, e2))
        ax, ay = (torch.where(is_round, s, c) for s, c in zip(series, closed, strict=True))
        return scale * ax, scale * ay

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: `psi = x alpha_x + y alpha_y`, the profile being isothermal."""
        ax, ay = self.deflection(x, y)
        return (x - spread(self.center_x)) * ax + (y - spread(self.center_y)) * ay

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; it grows without bound to the centre and is held where |w| is 1e-8 arcsec."""
        wx, wy, area = around(self, x, y)
        return 0.5 * spread(self.theta_E) * area.sqrt() * (wx * wx + wy * wy).clamp_min(CORE).rsqrt()


def _closed_form(x: Tensor, y: Tensor, per_w: Tensor, e1: Tensor, e2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the deflection in units of `theta_E sqrt(1 - e^2)`: KSB94, rotated by phi to the major axis and back."""
    e = (e1 * e1 + e2 * e2).sqrt()  # hypot, which the caller keeps from zero; ONNX has none
    phi = 0.5 * torch.atan2(e2, e1)
    cos, sin = 2 * e.sqrt() * phi.cos(), 2 * e.sqrt() * phi.sin()
    ax = torch.atan((cos * x + sin * y) * per_w)
    ay = torch.atanh((cos * y - sin * x) * per_w)
    cos, sin = cos / (4 * e), sin / (4 * e)
    return cos * ax - sin * ay, sin * ax + cos * ay


def _series(ux: Tensor, uy: Tensor, e1: Tensor, e2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for small e: `u (1 - s/3 + s^2/5)` with `u = w/|w|`, `s = conj(epsilon) u^2`."""
    cos2, sin2 = ux * ux - uy * uy, 2 * ux * uy
    sx, sy = e1 * cos2 + e2 * sin2, e1 * sin2 - e2 * cos2
    hx = 1 - sx / 3 + (sx * sx - sy * sy) / 5
    hy = sy * (0.4 * sx - 1 / 3)
    return ux * hx - uy * hy, ux * hy + uy * hx
