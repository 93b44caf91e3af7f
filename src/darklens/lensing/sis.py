"""Singular isothermal sphere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, nonzero, spread


@dataclass(frozen=True)
class SIS(Mass):
    """Singular isothermal sphere: `psi = theta_E r`, `alpha = theta_E theta/|theta|`, `kappa = theta_E / (2 r)`.

    Args:
        theta_E: Einstein radius, arcsec.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _offset(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return x, y, x * x + y * y

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very centre, where it has no direction."""
        x, y, square = self._offset(x, y)
        scale = spread(self.theta_E) * nonzero(square).rsqrt()
        return scale * x, scale * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        _, _, square = self._offset(x, y)
        return spread(self.theta_E) * square * nonzero(square).rsqrt()

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; it grows without bound to the centre and is held where r is 1e-8 arcsec."""
        return 0.5 * spread(self.theta_E) * self._offset(x, y)[2].clamp_min(CORE).rsqrt()
