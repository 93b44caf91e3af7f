"""What every profile is, and how parameters meet coordinates.

Coordinates `x`, `y` are `(..., H, W)` in arcsec: the last two axes are the image grid. They need only broadcast: an open grid,
x of `(1, W)` and y of `(H, 1)`, gives the same as a full one and is faster. A parameter that is a number or a 0-d tensor serves
everything; one of shape `(*batch)` gets two axes at its end and so serves the leading batch:
`SIE(theta_E=(B,), ...).deflection(x of (H, W), ...)` gives `(B, H, W)`.

Ellipticity is `e = (1-q)/(1+q)`, `(e1, e2) = e (cos, sin) 2phi`. No formula here needs q or phi: with `z = x + iy` and
`epsilon = e1 + i e2`, the map `w = z - epsilon conj(z)` makes circles of ellipses (`ellipse`). So every profile has the right
gradient where the ellipticity is zero and phi means nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import Field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import threshold

from darklens.errors import InputError

Parameter = Tensor | float

CORE = 1e-16
"""Square of 1e-8 arcsec. Nearer than this to a singular centre a deflection goes to zero, its mean over all directions."""

FLAT = 2e-4
"""Least `1 - e^2`: an ellipticity of one or more would be a flat line."""


def spread(parameter: Parameter) -> Parameter:
    """Give a batched parameter the two axes of the image grid."""
    if isinstance(parameter, Tensor) and parameter.ndim:
        return parameter[..., None, None]
    return parameter


def as_tensor(parameter: Parameter, like: Tensor) -> Tensor:
    """Return a parameter, spread, as a tensor of the precision and on the device of the coordinates."""
    return torch.as_tensor(spread(parameter), dtype=like.dtype, device=like.device)


def nonzero(square: Tensor) -> Tensor:
    """Return squared radii with 1 in place of zero: what divides by them is finite, and so are its gradients."""
    return threshold(square, CORE, 1.0)


def ellipse(x: Tensor, y: Tensor, e1: Tensor, e2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `w = z - epsilon conj(z)` and `1 - e^2`; the elliptical radius on the intermediate axis is `|w| / sqrt(1 - e^2)`.

    In the frame of the major axis `|w|^2 / (1 - e^2) = q x^2 + y^2/q`.
    """
    wx, wy = (1 - e1) * x - e2 * y, (1 + e1) * y - e2 * x
    return wx, wy, (1 - e1 * e1 - e2 * e2).clamp_min(FLAT)


def around(profile: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `ellipse` of positions about the centre of an elliptical profile."""
    x, y = x - spread(profile.center_x), y - spread(profile.center_y)
    return ellipse(x, y, as_tensor(profile.e1, x), as_tensor(profile.e2, x))


def zeros(x: Tensor, y: Tensor, *parameters: Parameter) -> Tensor:
    """Return zeros of the shape that a profile with these parameters gives."""
    return x.new_zeros(torch.broadcast_shapes(x.shape, y.shape, *(torch.as_tensor(spread(p)).shape for p in parameters)))


POSITIVE = ("theta_E", "Rs", "Ra", "Rb", "r_trunc", "r_core", "R_sersic", "sigma", "theta_v", "half_length")
"""Parameters that have to be positive."""


def check_positive(profile: object) -> None:
    """Refuse a number that has to be positive and is not; tensors, which may be padding or under optimisation, are not looked at.

    Raises:
        InputError: naming the profile and the parameter.
    """
    for name in POSITIVE:
        value = getattr(profile, name, None)
        if isinstance(value, int | float) and not value > 0:
            raise InputError(f"{type(profile).__name__} with {name} = {value}: it has to be positive; give arcsec")


class Mass(ABC):
    """A thin deflector; all angles in arcsec, deflections reduced."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every profile is a dataclass

    def __post_init__(self) -> None:
        """Check numbers."""
        check_positive(self)

    @abstractmethod
    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced deflection `(alpha_x, alpha_y)` in arcsec."""

    @abstractmethod
    def potential(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the lensing potential in arcsec^2, whose gradient is the deflection."""

    def hessian(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the second derivatives of the potential `(psi_xx, psi_xy, psi_yy)`, by differentiating the deflection."""
        return hessian(self.deflection, x, y)

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `kappa = (psi_xx + psi_yy) / 2`, by differentiating the deflection; a closed form takes its place."""
        psi_xx, _, psi_yy = self.hessian(x, y)
        return 0.5 * (psi_xx + psi_yy)


class Light(ABC):
    """A surface brightness; fluxes in whatever unit the amplitude has, per arcsec^2."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every profile is a dataclass

    def __post_init__(self) -> None:
        """Check numbers."""
        check_positive(self)

    @abstractmethod
    def intensity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the surface brightness at these positions."""


def hessian(deflection: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate a deflection field `(x, y) -> (alpha_x, alpha_y)`; return `(psi_xx, psi_xy, psi_yy)`.

    Forward mode: two passes give all derivatives, whatever the size of the grid.
    """
    # forward mode refuses the shared memory of a mesh grid
    x, y = (t.contiguous() for t in torch.broadcast_tensors(x, y))
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    _, (xx, xy) = torch.func.jvp(deflection, (x, y), (one, zero))  # type: ignore[misc]
    _, (_, yy) = torch.func.jvp(deflection, (x, y), (zero, one))  # type: ignore[misc]
    return xx, xy, yy
