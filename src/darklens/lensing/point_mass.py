"""Point masses, one or many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, nonzero, spread, zeros


@dataclass(frozen=True)
class PointMass(Mass):
    """Point mass: `psi = theta_E^2 ln r`, `alpha = theta_E^2 theta/|theta|^2`, no convergence but at the point.

    Args:
        theta_E: Einstein radius, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very point, where it has no direction."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        scale = spread(self.theta_E) ** 2 / nonzero(x * x + y * y)
        return scale * x, scale * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: zero at one arcsec from the point, held where r is 1e-8 arcsec."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return 0.5 * spread(self.theta_E) ** 2 * (x * x + y * y).clamp_min(CORE).log()

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the mass sits in one point."""
        return zeros(x, y, self.theta_E, self.center_x, self.center_y)


@dataclass(frozen=True)
class PointMasses(Mass):
    """Many point masses: parameters `(*batch, N)`, their sum over the last axis, `theta_E = 0` where there is none.

    The sum runs over the points in a loop, so that temporaries have the size of the image and stay in the processor's cache.

    Args:
        theta_E: Einstein radii, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Tensor
    center_x: Tensor
    center_y: Tensor

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        alpha_x = alpha_y = self.convergence(x, y)
        for strength, px, py in zip(*(p.unbind(-1) for p in (self.theta_E.square(), self.center_x, self.center_y)), strict=True):
            dx, dy = x - spread(px), y - spread(py)
            scale = spread(strength) / nonzero(dx * dx + dy * dy)
            alpha_x, alpha_y = torch.addcmul(alpha_x, scale, dx), torch.addcmul(alpha_y, scale, dy)
        return alpha_x, alpha_y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        points = zip(*(p.unbind(-1) for p in (self.theta_E, self.center_x, self.center_y)), strict=True)
        return sum((PointMass(*point).potential(x, y) for point in points), self.convergence(x, y))

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the masses sit in points."""
        return zeros(x, y, self.theta_E.sum(-1))
