"""Singular isothermal sphere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Mass, Parameter, safe_sqrt, spread


@dataclass(frozen=True)
class SIS(Mass):
    """Singular isothermal sphere: `psi = theta_E r`, `alpha = theta_E theta/|theta|`, `kappa = theta_E / (2 r)`.

    Args:
        theta_E: Einstein radius, arcsec.
        center_x: arcsec.
        center_y: arcsec.

    The deflection at the very centre, which has no direction, is zero.
    """

    theta_E: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _radius(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return x, y, safe_sqrt(x * x + y * y)

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        x, y, r = self._radius(x, y)
        scale = spread(self.theta_E) / (r + (r == 0))
        return scale * x, scale * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        return spread(self.theta_E) * self._radius(x, y)[2]

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; infinite at the centre."""
        return 0.5 * spread(self.theta_E) / self._radius(x, y)[2]
