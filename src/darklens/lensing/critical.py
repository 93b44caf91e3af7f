"""Critical curves, where the magnification is infinite, and caustics, their images in the source plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from darklens.lensing.base import Mass
from darklens.lensing.lens_equation import jacobian, trace


def critical_curves(masses: Sequence[Mass], half_width: float = 3.0, n: int = 400) -> list[np.ndarray]:
    """Return the critical curves as contours of `det(d beta / d theta) = 0`.

    Args:
        masses: unbatched profiles.
        half_width: half the side of the square that is searched, arcsec.
        n: grid points a side; the curves' error falls as 1/n^2.

    Returns:
        Curves `(K, 2)` float64, arcsec.
    """
    from contourpy import contour_generator

    axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    xx, xy, yy = jacobian(masses, x, y)
    determinant = (xx * yy - xy * xy).clamp(-10, 10).numpy()  # singular centres would bend the interpolation
    return contour_generator(axis.numpy(), axis.numpy(), determinant).lines(0.0)


def caustics(masses: Sequence[Mass], half_width: float = 3.0, n: int = 400) -> list[np.ndarray]:
    """Return the caustics: the critical curves, traced to the source plane, `(K, 2)` float64 in arcsec."""
    curves = [torch.from_numpy(curve) for curve in critical_curves(masses, half_width, n)]
    return [torch.cat(trace(masses, curve[:, :1], curve[:, 1:]), 1).numpy() for curve in curves]
