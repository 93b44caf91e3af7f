"""The vortex string of axion dark matter, as a uniform line of mass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, as_tensor, spread, zeros


@dataclass(frozen=True)
class Vortex(Mass):
    """A uniform string of half-length L: the limit of many point masses in a row with `sum theta_i^2 = theta_v^2`.

    Along x: `alpha_x = theta_v^2/(4L) ln[((x+L)^2 + y^2)/((x-L)^2 + y^2)]`,
    `alpha_y = theta_v^2/(2L) [atan((x+L)/y) - atan((x-L)/y)]`. The bracket is the angle under which the string is seen; as one
    arc tangent of two arguments it is exact for y -> 0 and has no difference to cancel. The logarithm is taken as
    `ln(1 + 4Lx/near^2)`, which keeps its digits far from the string.

    Args:
        theta_v: Einstein radius of the whole mass, arcsec.
        half_length: L, arcsec.
        angle: direction of the string, radians counter-clockwise from +x.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_v: Parameter
    half_length: Parameter
    angle: Parameter = 0.0
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def _frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        angle, length = as_tensor(self.angle, x), as_tensor(self.half_length, x)
        cos, sin = angle.cos(), angle.sin()
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        return cos * x + sin * y, cos * y - sin * x, length, cos, sin

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; on the string itself the mean of its two sides."""
        x, y, length, cos, sin = self._frame(x, y)
        per_length = spread(self.theta_v) ** 2 / length
        near = (x.abs() - length).square() + y * y + CORE
        ax = 0.25 * per_length * x.sign() * torch.log1p(4 * length * x.abs() / near)
        ay = 0.5 * per_length * _angle_of_view(x, y, length)
        return cos * ax - sin * ay, sin * ax + cos * ay

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: the integral of `ln r` along the string."""
        x, y, length, _, _ = self._frame(x, y)
        ends = [u * (u * u + y * y + CORE).log() for u in (x + length, x - length)]
        along = 0.5 * (ends[0] - ends[1]) - 2 * length + y * _angle_of_view(x, y, length)
        return 0.5 * spread(self.theta_v) ** 2 / length * along

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the mass sits on a line."""
        return zeros(x, y, self.theta_v, self.half_length, self.angle, self.center_x, self.center_y)


def _angle_of_view(x: Tensor, y: Tensor, length: Tensor) -> Tensor:
    """Return the angle under which the string is seen, with the sign of y; zero on the string itself."""
    on_string = (y == 0) & (x.abs() <= length)
    across, along = 2 * length * y, y * y + (x - length) * (x + length)
    return torch.atan2(torch.where(on_string, 0.0, across), torch.where(on_string, 1.0, along))
