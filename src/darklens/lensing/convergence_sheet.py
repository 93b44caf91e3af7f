"""A uniform sheet of mass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Mass, Parameter, spread, zeros


@dataclass(frozen=True)
class ConvergenceSheet(Mass):
    """Uniform convergence: `alpha = kappa (theta - center)`.

    Args:
        kappa: convergence; negative takes mass away.
        center_x: where it does not deflect, arcsec.
        center_y: arcsec.
    """

    kappa: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        kappa, field = spread(self.kappa), 0 * (x + y)  # of the shape of the grid, which may be open
        return kappa * (x - spread(self.center_x) + field), kappa * (y - spread(self.center_y) + field)

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return 0.5 * spread(self.kappa) * (x * x + y * y)

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence, everywhere the same."""
        return zeros(x, y, self.kappa, self.center_x, self.center_y) + spread(self.kappa)
