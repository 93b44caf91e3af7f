"""Pseudo-Jaffe profile, or dual pseudo-isothermal sphere (Eliasdottir et al. 2007, arXiv:0710.5636, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darklens.lensing.base import Mass, Parameter, as_tensor, spread


@dataclass(frozen=True)
class PseudoJaffe(Mass):
    """Sphere with a core and an edge, `kappa = sigma0 Ra Rs/(Rs - Ra) [1/sqrt(Ra^2 + r^2) - 1/sqrt(Rs^2 + r^2)]`.

    The deflection is written with `sqrt(a^2 + r^2) - a = r^2/[sqrt(a^2 + r^2) + a]`, which does not cancel. Between Ra and Rs it is
    isothermal: Ra -> 0, Rs -> infinity with `2 sigma0 Ra = theta_E` is `SIS`.

    Args:
        sigma0: central surface density over the critical one, up to the core (lenstronomy's parameter).
        Ra: core radius, arcsec.
        Rs: edge, arcsec, beyond Ra.
        center_x: arcsec.
        center_y: arcsec.
    """

    sigma0: Parameter
    Ra: Parameter
    Rs: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _parts(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        square, Ra, Rs = x * x + y * y, as_tensor(self.Ra, x), as_tensor(self.Rs, x)
        scale = as_tensor(self.sigma0, x) * Ra * Rs / (Rs - Ra)
        return x, y, scale, Ra, Rs, (Ra * Ra + square).sqrt(), (Rs * Rs + square).sqrt()

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        x, y, scale, Ra, Rs, core, edge = self._parts(x, y)
        factor = 2 * scale * (1 / (core + Ra) - 1 / (edge + Rs))
        return factor * x, factor * y

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2."""
        _, _, scale, Ra, Rs, core, edge = self._parts(x, y)
        return 2 * scale * (core - Ra * (Ra + core).log() - edge + Rs * (Rs + edge).log())

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence."""
        _, _, scale, _, _, core, edge = self._parts(x, y)
        return scale * (1 / core - 1 / edge)
