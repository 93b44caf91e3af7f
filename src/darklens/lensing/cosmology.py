"""Distances, and what they make of a mass: critical surface density and Einstein radius. Distances are astropy's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from darklens.errors import InputError

if TYPE_CHECKING:
    from astropy.cosmology import FlatLambdaCDM

ARCSEC_PER_RADIAN = 180 * 3600 / math.pi
FOUR_G_OVER_C2 = 4 * 1.3271244e20 / 299792458.0**2
"""`4 G M_sun / c^2` in metres, from the nominal solar mass parameter (IAU 2015 resolution B3)."""
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
            raise InputError(
                f"redshifts {z_from} and {z}: the lens must be nearer than the source and neither negative"
            )
        near, far = (float(self.astropy.comoving_distance(v).to_value("Mpc")) if v else 0.0 for v in (z_from, z))
        return (far - near) / (1 + z)

    def lensing_distance(self, z_lens: float, z_source: float) -> float:
        """Return `D_ls / (D_l D_s)` in 1/Mpc."""
        return self.distance(z_source, z_lens) / (self.distance(z_lens) * self.distance(z_source))

    def einstein_radius(self, mass: float, z_lens: float, z_source: float) -> float:
        """Return the Einstein radius in arcsec of a point of this mass in M_sun: `theta^2 = 4GM/c^2 D_ls/(D_l D_s)`."""
        return ARCSEC_PER_RADIAN * math.sqrt(FOUR_G_OVER_C2 * mass * self.lensing_distance(z_lens, z_source) / MPC)

    def mass_within(self, theta_E: float, z_lens: float, z_source: float) -> float:
        """Return the mass in M_sun inside an Einstein radius in arcsec."""
        return (theta_E / ARCSEC_PER_RADIAN) ** 2 * MPC / (FOUR_G_OVER_C2 * self.lensing_distance(z_lens, z_source))

    def critical_surface_density(self, z_lens: float, z_source: float) -> float:
        """Return `c^2 / (4 pi G) D_s/(D_l D_ls)` in M_sun/arcsec^2 at the lens."""
        return self.mass_within(1.0, z_lens, z_source) / math.pi

    def einstein_radius_as_published(self, mass: float, z_lens: float, z_source: float) -> float:
        """Return the Einstein radius as DeepLenseSim computes it: luminosity distances and `D_ls = D_s - D_l`.

        Kept to reproduce its images (defect 1): 1.281" for 1e12 M_sun at z 0.5 and 1.0, where `einstein_radius` gives 1.665".
        Its arcsec per radian is rounded to 206265.
        """
        near, far = (self.distance(z) * (1 + z) ** 2 for z in (z_lens, z_source))
        return 206265 * math.sqrt(FOUR_G_OVER_C2 * mass * (far - near) / (near * far) / MPC)
