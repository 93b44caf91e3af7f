"""What every profile is, and how parameters meet coordinates.

Coordinates `x`, `y` are `(..., H, W)` in arcsec: the last two axes are the image grid. A parameter that is a number or a 0-d
tensor serves everything; one of shape `(*batch)` gets two axes at its end and so serves the leading batch:
`SIE(theta_E=(B,), ...).deflection(x of (H, W), ...)` gives `(B, H, W)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

Parameter = Tensor | float


def spread(parameter: Parameter) -> Parameter:
    """Give a batched parameter the two axes of the image grid."""
    if isinstance(parameter, Tensor) and parameter.ndim:
        return parameter[..., None, None]
    return parameter


def sqrt(value: Parameter) -> Parameter:
    """Square root of a number or a tensor."""
    return value.sqrt() if isinstance(value, Tensor) else value**0.5


def safe_sqrt(square: Tensor) -> Tensor:
    """Square root that is zero with a zero gradient at zero, where the plain one has an infinite one."""
    zero = square <= 0
    return torch.where(zero, torch.zeros_like(square), torch.where(zero, torch.ones_like(square), square).sqrt())


def axis_ratio_and_angle(e1: Parameter, e2: Parameter, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the axis ratio q and the cosine and sine of the position angle, `e = (1-q)/(1+q)`, `(e1, e2) = e (cos, sin) 2phi`.

    A circle has no position angle; it gets phi = 0 with finite gradients. An ellipticity of one or more is a flat line: it is
    held just below, as lenstronomy does.
    """
    e1 = torch.as_tensor(spread(e1), dtype=like.dtype, device=like.device)
    e2 = torch.as_tensor(spread(e2), dtype=like.dtype, device=like.device)
    square = e1 * e1 + e2 * e2
    e = safe_sqrt(square).clamp_max(0.9999)
    round_ = square <= 0
    phi = 0.5 * torch.atan2(
        torch.where(round_, torch.zeros_like(square), e2 + 0 * e1),
        torch.where(round_, torch.ones_like(square), e1 + 0 * e2),
    )
    return (1 - e) / (1 + e), phi.cos(), phi.sin()


class Mass(ABC):
    """A thin deflector; all angles in arcsec, deflections reduced."""

    @abstractmethod
    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection `(alpha_x, alpha_y)` in arcsec."""

    def hessian(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the second derivatives of the potential `(psi_xx, psi_xy, psi_yy)`, by differentiating the deflection."""
        return hessian(self.deflection, x, y)

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the convergence `kappa = (psi_xx + psi_yy) / 2`; profiles with a closed form give it instead."""
        psi_xx, _, psi_yy = self.hessian(x, y)
        return 0.5 * (psi_xx + psi_yy)


class Light(ABC):
    """A surface brightness; fluxes in whatever unit the amplitude has, per arcsec^2."""

    @abstractmethod
    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness at these positions."""


def hessian(deflection, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate a deflection field `(x, y) -> (alpha_x, alpha_y)`.

    Forward mode: two passes give all derivatives, whatever the size of the grid.
    """
    x, y = (
        t.contiguous() for t in torch.broadcast_tensors(x, y)
    )  # forward mode refuses the shared memory of a mesh grid
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    _, (xx, xy) = torch.func.jvp(deflection, (x, y), (one, zero))
    _, (_, yy) = torch.func.jvp(deflection, (x, y), (zero, one))
    return xx, xy, yy
