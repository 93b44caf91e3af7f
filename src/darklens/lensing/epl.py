"""Elliptical power law (Tessore & Metcalf 2015, A&A 580, A79)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import CORE, Mass, Parameter, around, as_tensor, ellipse, nonzero, spread

TERMS = {torch.float32: 20, torch.float64: 40}
"""Terms N of the angular series. The rest is at most `e^N / (1 - e)` of the deflection: at e = 0.4 (q = 0.43) 2e-8 in float32
and 2e-16 in float64; at e = 0.6 (q = 0.25) 9e-5 and 3e-9."""


@dataclass(frozen=True)
class EPL(Mass):
    """Elliptical power law, `kappa = (2 - t)/2 (theta_E/R)^t`, `t = gamma - 1`, R on the intermediate axis.

    With the map w of `ellipse`, `s = theta_E sqrt(1 - e^2)` and `u = w/|w|`, the complex deflection is
    `s (s/|w|)^(t-1) u sum_n a_n (-conj(epsilon) u^2)^n`, `a_n = a_(n-1) (2n - 2 + t)/(2n + 2 - t)`: TM15 eqs. 13, 23, 29,
    free of axis ratio and angle. A fixed number of terms: differentiable, without branches. `gamma = 2` is `SIE`.

    Args:
        theta_E: Einstein radius on the intermediate axis, arcsec.
        gamma: logarithmic slope of the mass density, between 1 and 3.
        e1: first component of the ellipticity.
        e2: second component.
        center_x: arcsec.
        center_y: arcsec.
    """

    theta_E: Parameter
    gamma: Parameter
    e1: Parameter
    e2: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection; zero at the very centre, where it has no direction."""
        x, y = x - spread(self.center_x), y - spread(self.center_y)
        e1, e2, t = as_tensor(self.e1, x), as_tensor(self.e2, x), as_tensor(self.gamma, x) - 1
        wx, wy, area = ellipse(x, y, e1, e2)
        square = nonzero(wx * wx + wy * wy)
        cos2, sin2 = (wx * wx - wy * wy) / square, 2 * wx * wy / square
        sx, sy = _angular_series(-e1 * cos2 - e2 * sin2, e2 * cos2 - e1 * sin2, e1 * e1 + e2 * e2, t)
        scale = (spread(self.theta_E) * area.sqrt()) ** t * square ** (-0.5 * t)
        return scale * (wx * sx - wy * sy), scale * (wx * sy + wy * sx)

    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential, arcsec^2: `psi = (x alpha_x + y alpha_y) / (2 - t)` (TM15 eq. 15)."""
        ax, ay = self.deflection(x, y)
        return ((x - spread(self.center_x)) * ax + (y - spread(self.center_y)) * ay) / (3 - spread(self.gamma))

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence; it grows without bound to the centre and is held where |w| is 1e-8 arcsec."""
        wx, wy, area = around(self, x, y)
        t = as_tensor(self.gamma, wx) - 1
        square = (wx * wx + wy * wy).clamp_min(CORE)
        return 0.5 * (2 - t) * (spread(self.theta_E) * area.sqrt()) ** t * square ** (-0.5 * t)


def _angular_series(zx: Tensor, zy: Tensor, square: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return `sum_n a_n z^n`, `square = |z|^2`.

    The coefficients are real, so that `b_n = a_n + 2 Re(z) b_(n+1) - |z|^2 b_(n+2)` does with real numbers what Horner's rule
    does with complex ones, at a third of the price; the sum is `a_0 + z b_1 - |z|^2 b_2` (Knuth, TAOCP 2, 4.6.4).
    """
    a = [torch.ones_like(t)]
    for n in range(1, TERMS.get(zx.dtype, 40)):
        a.append(a[-1] * (2 * n - 2 + t) / (2 * n + 2 - t))
    twice = 2 * zx
    after, b = torch.zeros_like(a[0] * square), a[-1] + torch.zeros_like(square)
    for a_n in reversed(a[1:-1]):
        after, b = b, torch.addcmul(torch.addcmul(a_n, square, after, value=-1), twice, b)
    return a[0] + zx * b - square * after, zy * b
