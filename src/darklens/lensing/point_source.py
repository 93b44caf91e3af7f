"""Point sources: a quasar behind a lens, seen as several magnified points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.lensing.base import Mass, Parameter
from darklens.lensing.lens_equation import magnification, solve_images


@dataclass(frozen=True)
class PointSource:
    """An unresolved source. It has no surface brightness: its images are points, which a renderer draws as PSFs.

    Args:
        amp: flux without a lens.
        center_x: position in the source plane, arcsec.
        center_y: arcsec.
    """

    amp: Parameter
    center_x: Parameter = 0.0
    center_y: Parameter = 0.0

    def images(self, masses: Sequence[Mass], *, half_width: float = 3.0, n: int = 400) -> tuple[Tensor, Tensor]:
        """Solve for the images behind one lens.

        Args:
            masses: profiles of one system (not batched).
            half_width: half the side of the square that is searched, arcsec.
            n: grid points a side; see `solve_images`.

        Returns:
            Positions `(K, 2)` in arcsec and fluxes `(K,)`, both float64: the flux of an image is `amp |magnification|`.

        Raises:
            InputError: a batch of systems.
        """
        where = solve_images(masses, float(self.center_x), float(self.center_y), half_width=half_width, n=n)
        strength = magnification(masses, where[:, :1], where[:, 1:])[:, 0].abs() if len(where) else where.new_zeros(0)
        return where, torch.as_tensor(self.amp, dtype=where.dtype) * strength
