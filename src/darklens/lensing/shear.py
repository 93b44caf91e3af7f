"""External shear."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Mass, Parameter, spread, zeros


@dataclass(frozen=True)
class Shear(Mass):
    """External shear about the origin: `psi = gamma1 (x^2 - y^2)/2 + gamma2 x y`, no convergence.

    Args:
        gamma1: stretches along x.
        gamma2: stretches along the diagonal.
    """

    gamma1: Parameter
    gamma2: Parameter

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        g1, g2 = spread(self.gamma1), spread(self.gamma2)
        return g1 * x + g2 * y, g2 * x - g1 * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        return 0.5 * spread(self.gamma1) * (x * x - y * y) + spread(self.gamma2) * x * y

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero."""
        return zeros(x, y, self.gamma1, self.gamma2)
