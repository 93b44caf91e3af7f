"""What a dark clump of a given mass does to light: a point, or a truncated NFW halo of the median concentration of its mass."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import darklens.simulate.halos as halos
from darklens.errors import InputError, unknown
from darklens.lensing import Cosmology, Mass, PointMasses, TNFWHalos
from darklens.simulate import DeepLenseSim, Preset

KINDS = ("tnfw", "point")
COSMOLOGY = Cosmology()
"""H0 = 70, Om0 = 0.3, as in every simulated table."""
GRID = np.arange(4.0, 14.01, 0.05)
"""log10 M_sun at which halo profiles are tabulated: between them, their lengths are interpolated as power laws."""


@dataclass(frozen=True)
class Clump:
    """The kind of clump that is looked for, in the plane of the lens.

    Args:
        z_lens: redshift of the lens.
        z_source: redshift of the source.
        kind: "tnfw", a truncated NFW subhalo as those of the simulations: scale radius of the median concentration (Dutton &
            Maccio 2014), tidal radius for its distance from the host's middle; or "point".
        distance: from the host's middle in kpc, for the tidal radius; 175 is the middle of the preset `perturber`.
        radius_of_sun: Einstein radius in arcsec of a point of one M_sun, where it is not that of the redshifts (DeepLenseSim).

    Raises:
        InputError: unknown kind, a lens that does not stand before its source, or a distance that is not positive.
    """

    z_lens: float
    z_source: float
    kind: str = "tnfw"
    distance: float = 175.0
    radius_of_sun: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of clump", self.kind, KINDS)
        if not 0 < self.z_lens < self.z_source:
            raise InputError(
                f"lens at redshift {self.z_lens:g}, source at {self.z_source:g}: the lens must stand between; give both redshifts"
            )
        if not self.distance > 0:
            raise InputError(f"distance {self.distance:g} kpc from the host's middle: it must be above 0; 175 is typical")

    @property
    def sigma_critical(self) -> float:
        """Critical surface density, M_sun/arcsec^2."""
        return halos.sigma_critical(self.z_lens, self.z_source, COSMOLOGY)

    def profile(self, log10_m: Tensor, x: Tensor, y: Tensor) -> Mass:
        """Return clumps as one profile that sums over its last axis; differentiable.

        Args:
            log10_m: `(*batch, N)` log10 of the total masses in M_sun.
            x: `(*batch, N)` arcsec.
            y: likewise.
        """
        if self.kind == "point":
            radius = self.radius_of_sun or 1 / math.sqrt(math.pi * self.sigma_critical)
            return PointMasses(radius * 10 ** (0.5 * log10_m), x, y)
        place = ((log10_m - GRID[0]) / (GRID[1] - GRID[0])).clamp(0, len(GRID) - 1.001)
        left = place.detach().floor().long()
        rest = place - left
        table = torch.as_tensor(_halo_table(self), dtype=log10_m.dtype, device=log10_m.device)
        alpha_Rs, Rs, r_trunc = (column[left] * (1 - rest) + column[left + 1] * rest for column in table)
        return TNFWHalos(alpha_Rs.exp(), Rs.exp(), r_trunc.exp(), x, y)


@functools.lru_cache(maxsize=16)
def _halo_table(clump: Clump) -> np.ndarray:
    """Return ln of `alpha_Rs`, `Rs` and `r_trunc` in arcsec at the masses of `GRID`, `(3, len(GRID))`."""
    mass, scale = 10.0**GRID, halos.kpc_per_arcsec(clump.z_lens, COSMOLOGY)
    concentration = halos.concentration(mass, clump.z_lens, COSMOLOGY)
    Rs = halos.virial_radius(mass, clump.z_lens, COSMOLOGY) / concentration / scale
    r_trunc = halos.tidal_radius(mass, np.full(len(mass), clump.distance)) / scale
    return np.log([halos.tnfw_alpha_Rs(mass, Rs, r_trunc, clump.sigma_critical), Rs, r_trunc])


def clump_for(preset: Preset, kind: str | None = None) -> Clump:
    """Return the clump of a preset: points with its own Einstein radii where it is DeepLenseSim's, else subhaloes."""
    population = preset.population
    if isinstance(population, DeepLenseSim):
        if kind not in (None, "point"):
            raise InputError(f"clump {kind!r} in preset {preset.name!r}, whose masses are points by published radii: leave it out")
        return Clump(population.z_lens, population.z_source, "point", radius_of_sun=float(population.einstein_radius(1.0)))
    return Clump(population.z_lens, population.z_source, kind or "tnfw")
