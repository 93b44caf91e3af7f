"""Coordinates of the source plane that go along with the lens.

A lens of another slope or shear maps the same image to a source that is larger, smaller or sheared, and the image hardly tells
(Schneider & Sluse 2013, A&A 559, A37). On a grid that stays where it is, the smaller source meets fewer cells: the evidence then
counts fewer degrees of freedom, takes that for a merit, and leans the slope far beyond its errors. So the source lives in
coordinates in which a fixed set of rays has the same mean and the same second moments under every lens. At the lens for which the
frame was made these are arcsec in the source plane; meshes that are drawn in the image plane have the same property (Nightingale &
Dye 2015, MNRAS 452, 2940).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Place = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From where rays end, x and y in arcsec, to coordinates of the frame."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and spread of weighted points of a plane.

    Args:
        x: mean.
        y: mean.
        xx: with `yx` and `yy` the Cholesky factor of the covariance, `[[xx, 0], [yx, yy]]`.
        yx: see there.
        yy: see there.
    """

    x: Tensor
    y: Tensor
    xx: Tensor
    yx: Tensor
    yy: Tensor

    @classmethod
    def of(cls, bx: Tensor, by: Tensor, weight: Tensor) -> Moments:
        """Return those of points `(..., R)` with weights `(R,)` of sum one."""
        x, y = bx @ weight, by @ weight
        dx, dy = bx - x[..., None], by - y[..., None]
        xx = ((dx * dx) @ weight).sqrt()
        yx = ((dx * dy) @ weight) / xx
        return cls(x, y, xx, yx, ((dy * dy) @ weight - yx * yx).sqrt())


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame and the rays that carry it.

    Args:
        weight: `(R,)` of each pixel's rays, of sum one.
        home: moments of the rays under the lens for which the frame was made.
    """

    weight: Tensor
    home: Moments

    @classmethod
    def of(cls, bx: Tensor, by: Tensor, weight: Tensor) -> Frame:
        """Return the frame of rays that end at `(R,)` with weights `(R,)`."""
        weight = weight / weight.sum()
        return cls(weight, Moments.of(bx, by, weight))

    def place(self, bx: Tensor, by: Tensor) -> Place:
        """Return the map into the frame, of a lens under which the rays of the pixels end at `(R, K)`."""
        now, home = Moments.of(bx.mean(-1), by.mean(-1), self.weight), self.home

        def placed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            across = (x - now.x) / now.xx
            along = (y - now.y - now.yx * across) / now.yy
            return home.x + home.xx * across, home.y + home.yx * across + home.yy * along

        return placed


def stay(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions as they are: the frame of a source that has none."""
    return x, y
