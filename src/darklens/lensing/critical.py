"""Critical curves, where the magnification is infinite, and caustics, their images in the source plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from darklens.lensing.base import Mass
from darklens.lensing.lens_equation import jacobian, search_grid, trace

CAP = 10.0
"""The determinant is held within +-CAP: towards a singular centre it goes to infinity and would bend the interpolation."""


def critical_curves(masses: Sequence[Mass], half_width: float = 3.0, n: int = 400) -> list[np.ndarray]:
    """Return the critical curves as contours of `det(d beta / d theta) = 0`.

    Args:
        masses: profiles of one system.
        half_width: half the side of the square that is searched, arcsec.
        n: grid points a side; the curves' error falls as 1/n^2.

    Returns:
        Curves `(K, 2)` float64, arcsec. A singular isothermal centre has no radial critical curve, and so no radial caustic.

    Raises:
        InputError: a batch of systems, or a grid without cells.
    """
    from contourpy import contour_generator

    x, y = search_grid(masses, half_width, n)
    xx, xy, yy = jacobian(masses, x, y)
    determinant = (xx * yy - xy * xy).detach().clamp(-CAP, CAP)
    return contour_generator(x.numpy(), y.numpy(), determinant.numpy()).lines(0.0)  # type: ignore[return-value]


def caustics(masses: Sequence[Mass], half_width: float = 3.0, n: int = 400) -> list[np.ndarray]:
    """Return the caustics: the critical curves, traced to the source plane, `(K, 2)` float64 in arcsec.

    Args and errors are those of `critical_curves`.
    """
    curves = [torch.from_numpy(curve) for curve in critical_curves(masses, half_width, n)]
    return [torch.cat(trace(masses, curve[:, :1], curve[:, 1:]), 1).detach().numpy() for curve in curves]
