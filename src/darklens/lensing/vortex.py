"""The vortex string of axion dark matter, as a uniform line of mass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Mass, Parameter, spread


@dataclass(frozen=True)
class Vortex(Mass):
    """A uniform string of half-length L: the limit of many point masses in a row with `sum theta_i^2 = theta_v^2`.

    Along x: `alpha_x = theta_v^2/(4L) ln[((x+L)^2 + y^2)/((x-L)^2 + y^2)]`,
    `alpha_y = theta_v^2/(2L) [atan((x+L)/y) - atan((x-L)/y)]`; the bracket is the angle under which the string is seen, and
    is computed as one arc tangent of two arguments, exact for y -> 0 and without the cancellation of a difference.

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

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection."""
        length = torch.as_tensor(spread(self.half_length), dtype=x.dtype, device=x.device)
        angle = torch.as_tensor(spread(self.angle), dtype=x.dtype, device=x.device)
        cos, sin = angle.cos(), angle.sin()
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        x, y = cos * x + sin * y, cos * y - sin * x
        near, far = (x - length) ** 2 + y * y, (x + length) ** 2 + y * y
        strength = spread(self.theta_v) ** 2 / length
        # ln(far/near) = ln(1 + 4Lx/near), which keeps its digits far from the string; mirrored for x < 0, where it would lose them
        side = torch.where(x < 0, -1.0, 1.0).to(x.dtype)
        nearer = torch.where(x < 0, far, near).clamp_min(torch.finfo(x.dtype).tiny)
        ax = 0.25 * strength * side * torch.log1p(4 * length * side * x / nearer)
        ay = 0.5 * strength * _opening_angle(x, y, length)
        return cos * ax - sin * ay, sin * ax + cos * ay

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero: the mass sits on a line."""
        return torch.zeros_like(self.deflection(x, y)[0])


def _opening_angle(x: Tensor, y: Tensor, length: Tensor) -> Tensor:
    """Return the angle under which the string is seen, with the sign of y; zero on the string's own line."""
    zero = y == 0
    angle = torch.atan2(2 * length * torch.where(zero, torch.ones_like(y), y), x * x + y * y - length * length)
    return torch.where(zero, torch.zeros_like(y), angle)
