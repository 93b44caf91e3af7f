"""Distances, and what they make of a mass: Einstein radius and critical surface density. Distances are astropy's.

A point mass at angular diameter distance `D_l`, before a source at `D_s`, has the Einstein radius
`theta_E^2 = 4 G M/c^2 D_ls/(D_l D_s)`; the mass inside any axisymmetric lens's Einstein radius is the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from darklens.errors import InputError

if TYPE_CHECKING:
    from astropy.cosmology import FlatLambdaCDM

Number = TypeVar("Number", float, np.ndarray)

ARCSEC_PER_RADIAN = 180 * 3600 / math.pi
FOUR_G_OVER_C2 = 4 * 1.3271244e20 / 299792458.0**2
"""`4 G M_sun / c^2` in metres, from the nominal solar mass parameter (IAU 2015 resolution B3)."""
LIGHT_KM_S = 299792.458
MPC = 3.0856775814913673e22
"""Megaparsec in metres."""


@dataclass(frozen=True)
class Cosmology:
    """A flat universe of matter and a cosmological constant.

    Args:
        H0: Hubble constant, km/s/Mpc.
        Om0: matter density.
        Ob0: baryon density (recorded; distances do not depend on it).
    """

    H0: float = 70.0
    Om0: float = 0.3
    Ob0: float = 0.0

    @cached_property
    def astropy(self) -> FlatLambdaCDM:
        """The astropy cosmology."""
        from astropy.cosmology import FlatLambdaCDM

        return FlatLambdaCDM(H0=self.H0, Om0=self.Om0, Ob0=self.Ob0)

    def as_dict(self) -> dict[str, float | str]:
        """Return the parameters, JSON-ready."""
        return {"name": "FlatLambdaCDM"} | asdict(self)

    def distance(self, z: float, z_from: float = 0.0) -> float:
        """Return the angular diameter distance in Mpc from one redshift to another.

        Raises:
            InputError: the redshifts are not in order.
        """
        if not 0 <= z_from < z:
            raise InputError(f"redshifts {z_from} and {z} are not in order: the nearer must be 0 or more and below the farther")
        near, far = (float(self.astropy.comoving_distance(v).to_value("Mpc")) for v in (z_from, z))
        return (far - near) / (1 + z)  # space is flat

    def lensing_distance(self, z_lens: float, z_source: float) -> float:
        """Return `D_ls / (D_l D_s)` in 1/Mpc."""
        return self.distance(z_source, z_lens) / (self.distance(z_lens) * self.distance(z_source))

    def einstein_radius_point_mass(self, mass: Number, z_lens: float, z_source: float) -> Number:
        """Return the Einstein radius in arcsec of a point of this mass in M_sun."""
        return ARCSEC_PER_RADIAN * (FOUR_G_OVER_C2 * mass * self.lensing_distance(z_lens, z_source) / MPC) ** 0.5

    def mass_within(self, theta_E: Number, z_lens: float, z_source: float) -> Number:
        """Return the mass in M_sun inside an Einstein radius in arcsec."""
        return (theta_E / ARCSEC_PER_RADIAN) ** 2 * MPC / (FOUR_G_OVER_C2 * self.lensing_distance(z_lens, z_source))

    def critical_surface_density(self, z_lens: float, z_source: float) -> float:
        """Return `c^2 / (4 pi G) D_s/(D_l D_ls)` in M_sun/arcsec^2 at the lens: convergence 1."""
        return self.mass_within(1.0, z_lens, z_source) / math.pi

    def critical_surface_density_at_most(self, z_lens: float, z_source: float) -> float:
        """Return a bound on the critical surface density that takes no integral, so that astropy need not be imported for it.

        The expansion rate `H0 E(z)` grows: comoving distances are at most `c z / H0`, and between lens and source at least
        `c (z_s - z_l) / (H0 E(z_s))`. At redshifts 0.5 and 1.0 the bound is 1.7 times the value.
        """
        rate = (self.Om0 * (1 + z_source) ** 3 + 1 - self.Om0) ** 0.5
        distance = self.H0 / LIGHT_KM_S * (1 + z_lens) * (z_source - z_lens) / (rate * z_lens * z_source)
        return MPC / (FOUR_G_OVER_C2 * distance * ARCSEC_PER_RADIAN**2 * math.pi)

    def einstein_radius_as_published(self, mass: Number, z_lens: float, z_source: float) -> Number:
        """Return the Einstein radius as DeepLenseSim computes it: luminosity distances and `D_ls = D_s - D_l`.

        Kept to reproduce its images: 1.281" for 1e12 M_sun at z 0.5 and 1.0, where the right one is 1.665". Its arcsec per
        radian is rounded to 206265.
        """
        near, far = (self.distance(z) * (1 + z) ** 2 for z in (z_lens, z_source))
        return 206265 * (FOUR_G_OVER_C2 * mass * (far - near) / (near * far) / MPC) ** 0.5
