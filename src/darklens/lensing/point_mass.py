"""Point masses, one or many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Mass, Parameter, spread


@dataclass(frozen=True)
class PointMass(Mass):
    """Point mass: `psi = theta_E^2 ln r`, `alpha = theta_E^2 theta/|theta|^2`, no convergence but at the point.

    Args:
        theta_E: Einstein radius, arcsec.
        center_x: arcsec.
        center_y: arcsec.

    The deflection at the very point, which has no direction, is zero.
    """

    theta_E: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _square(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        square = x * x + y * y
        return x, y, square + (square == 0)

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        x, y, square = self._square(x, y)
        scale = spread(self.theta_E) ** 2 / square
        return scale * x, scale * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2, zero at one arcsec from the point."""
        return 0.5 * spread(self.theta_E) ** 2 * self._square(x, y)[2].log()

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the mass sits in one point."""
        return torch.zeros_like(self.potential(x, y))


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
        strength = self.theta_E.square()
        alpha_x, alpha_y = torch.zeros_like(x), torch.zeros_like(x)
        for n in range(self.theta_E.shape[-1]):
            dx, dy = x - spread(self.center_x[..., n]), y - spread(self.center_y[..., n])
            scale = spread(strength[..., n]) / torch.addcmul(dx * dx, dy, dy).clamp_min(TINY)
            alpha_x, alpha_y = torch.addcmul(alpha_x, scale, dx), torch.addcmul(alpha_y, scale, dy)
        return alpha_x, alpha_y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        return sum((point.potential(x, y) for point in self._points()), torch.zeros_like(x))

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the masses sit in points."""
        return torch.zeros_like(self.deflection(x, y)[0])

    def _points(self) -> list[PointMass]:
        n = range(self.theta_E.shape[-1])
        return [PointMass(self.theta_E[..., i], self.center_x[..., i], self.center_y[..., i]) for i in n]


TINY = 1e-24
"""Square of the smallest distance in arcsec^2; only a pixel that hits a point exactly is nearer, and its deflection is zero."""
