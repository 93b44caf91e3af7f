"""A point spread function anywhere between the pixels.

What a pixel receives of a point is the integral of the PSF over the pixel. The integral of the PSF from its lower left corner is
known exactly at the edges of its own pixels; a spline of fifth degree goes through these values, and the light in a pixel of the
image is the difference over its four corners. No flux is lost whatever the position. Of a PSF on the image's pixels this is the
spline interpolation of its values; of a finer one, the integration over the pixels of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import RectBivariateSpline

from darklens.errors import InputError
from darklens.simulate.psf import overlap

DEGREE = 5
FINEST = 20
"""Largest number of the PSF's pixels along a side of the image's."""


@dataclass(frozen=True, eq=False)
class PointSpread:
    """A PSF that can stand anywhere.

    Args:
        kernel: `(K, L)`, odd, its centre on the middle pixel; it is divided by its sum.
        oversampling: its pixels along a side of a pixel of the image.

    Raises:
        InputError: an oversampling out of range, or a PSF that is no image with odd sides and light.
    """

    kernel: np.ndarray
    oversampling: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.oversampling <= FINEST:
            raise InputError(
                f"PSF oversampling {self.oversampling} is outside 1 to {FINEST}: give the number of its pixels along a side of the "
                "image's"
            )
        if self.kernel.ndim != 2 or any(n % 2 == 0 for n in self.kernel.shape):
            raise InputError(f"PSF of shape {self.kernel.shape}: both sides must be odd, with the centre on the middle pixel")
        total = self.kernel.sum()
        if not np.isfinite(self.kernel).all() or total <= 0:
            raise InputError(f"PSF with sum {total:.4g}: its pixels must be finite with a positive sum; repair the file")
        object.__setattr__(self, "kernel", self.kernel / total)

    @property
    def on_pixels(self) -> np.ndarray:
        """The PSF of a point in the middle of a pixel, on the pixels of the image, `(odd, odd)`."""
        if self.oversampling == 1:
            return self.kernel
        rows, columns = (overlap(n, 1 / self.oversampling) for n in self.kernel.shape)
        return rows @ self.kernel @ columns.T

    @cached_property
    def _integral(self) -> RectBivariateSpline:
        total = np.pad(self.kernel.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        rows, columns = ((np.arange(n + 1) - 0.5 * n) / self.oversampling for n in self.kernel.shape)
        return RectBivariateSpline(rows, columns, total, kx=min(DEGREE, len(rows) - 1), ky=min(DEGREE, len(columns) - 1))

    def at(self, row: float, column: float, shape: tuple[int, int], along: str = "") -> np.ndarray:
        """Return the light of a point of unit flux in each pixel, `(H, W)`.

        Args:
            row: of the point, in pixels; 0 is the middle of the first one.
            column: likewise.
            shape: of the image.
            along: "row" or "column" for the derivative with respect to the point's position instead.
        """
        edges = [np.arange(n + 1) - 0.5 - place for n, place in zip(shape, (row, column), strict=True)]
        reach = [0.5 * n / self.oversampling for n in self.kernel.shape]
        inside = [np.clip(edge, -end, end) for edge, end in zip(edges, reach, strict=True)]
        corner = self._integral(*inside, dx=int(along == "row"), dy=int(along == "column"))
        if along:  # beyond the PSF the integral is constant
            outside = (edges[0] != inside[0])[:, None] if along == "row" else (edges[1] != inside[1])[None]
            corner = -np.where(outside, 0.0, corner)
        return np.diff(np.diff(corner, axis=0), axis=1)
