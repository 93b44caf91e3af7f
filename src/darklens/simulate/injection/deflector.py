"""The mass of a real galaxy, guessed from its light: redshift, velocity dispersion, Einstein radius, shape.

A massive galaxy is close to isothermal: `theta_E = 4 pi (sigma/c)^2 D_ls/D_s`. Its velocity dispersion follows from its luminosity
(Faber & Jackson 1976), as Bernardi et al. 2003 (AJ 125, 1849) measured it in r: `log10 sigma = 2.203 - 0.102 (M_r + 21.15)` with
a scatter of 0.07, luminosities corrected for an evolution of 0.85 mag a unit of redshift. Its redshift, where none is given,
comes from its colours, as those of a galaxy of old stars. Mass lies as light does, within 10 degrees (Koopmans et al. 2006).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from darklens.lensing import Cosmology
from darklens.simulate.injection.camera import Camera, colour_of
from darklens.simulate.injection.galaxy import Galaxy
from darklens.simulate.priors import Prior, Quantiles, Uniform

SPEED_OF_LIGHT = 299792.458
ARCSEC = 180 * 3600 / math.pi
FARTHEST = 8.0

OLD_STARS = np.array([
    #  z  g-r   r-i   i-z   K_r     AB magnitudes
    (0.1, 0.95, 0.40, 0.30, 0.10),
    (0.2, 1.25, 0.48, 0.33, 0.22),
    (0.3, 1.52, 0.54, 0.35, 0.37),
    (0.4, 1.70, 0.66, 0.38, 0.58),
    (0.5, 1.78, 0.85, 0.41, 0.85),
    (0.6, 1.82, 1.04, 0.46, 1.15),
    (0.7, 1.85, 1.16, 0.55, 1.45),
    (0.8, 1.88, 1.25, 0.65, 1.75),
    (0.9, 1.90, 1.28, 0.77, 2.00),
])  # fmt: skip
"""Colours and K correction of an early-type galaxy by redshift, rounded from the red sequence of SDSS and DES; good to 0.1 mag."""
PAIRS = (("g", "r", 1), ("r", "i", 2), ("i", "z", 3))
COLOUR_ERROR = 0.12
"""Scatter of the red sequence and of a colour measured through different seeing, mag."""


@dataclass(frozen=True)
class Deflector:
    """What bends the light, in the frame of the galaxy's centre.

    Args:
        theta_E: Einstein radius, arcsec.
        e1: ellipticity of the mass.
        e2: second component.
        gamma1: external shear.
        gamma2: second component.
        z_lens: redshift of the galaxy.
        z_source: redshift of the source.
        sigma_v: velocity dispersion of the isothermal lens, km/s.
    """

    theta_E: float
    e1: float
    e2: float
    gamma1: float
    gamma2: float
    z_lens: float
    z_source: float
    sigma_v: float


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Lenses that fit the galaxies in front of them.

    Args:
        theta_E: least and largest Einstein radius, arcsec.
        by_luminosity: take the Einstein radius from the galaxy's luminosity (its redshift, the source's); else uniformly
            from the range, as where the cutouts are not calibrated.
    """

    theta_E: tuple[float, float] = (0.5, 3.0)
    by_luminosity: bool = True

    #                                                priors, one per line
    z_lens: Prior = Quantiles((0.0, 0.1, 0.5, 0.9, 1.0), (0.1, 0.25, 0.5, 0.75, 0.9))  # before colours are looked at
    z_source: Prior = Quantiles((0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0), (0.5, 0.9, 1.3, 1.7, 2.2, 3.2, 5.0))
    shear: Prior = Uniform(0.0, 0.1)
    scatter_dispersion: float = 0.07  # dex, about Faber-Jackson
    scatter_e: float = 0.05  #          about the light's ellipticity
    scatter_angle: float = 10.0  #      degrees, about the light's position angle
    cosmology: Cosmology = field(default_factory=Cosmology)

    def draw(self, galaxy: Galaxy, camera: Camera, rng: np.random.Generator, redshift: float | None = None) -> Deflector | None:
        """Draw the lens that this galaxy could be; None where its Einstein radius is out of the range."""
        z_lens = redshift if redshift is not None else self._redshift(galaxy, camera, rng)
        z_source = float(self.z_source.draw(rng))
        scatter, position = rng.normal(0.0, self.scatter_dispersion), rng.random()
        turn, stretch = rng.normal(0.0, math.radians(self.scatter_angle)), rng.normal(0.0, self.scatter_e)
        shear, direction = float(self.shear.draw(rng)), rng.uniform(0.0, 2 * math.pi)
        if z_source < z_lens + 0.1:
            return None
        share = self.distance_ratio(z_lens, z_source)
        absolute = self.absolute_magnitude(galaxy, camera, z_lens) if self.by_luminosity else math.nan
        if math.isfinite(absolute):
            sigma = 10.0 ** (2.203 - 0.102 * (absolute + 21.15) + scatter)
            theta_E = 4 * math.pi * (sigma / SPEED_OF_LIGHT) ** 2 * share * ARCSEC
        elif self.by_luminosity:
            return None  # light that cannot be measured says nothing of mass
        else:
            theta_E = self.theta_E[0] + position * (self.theta_E[1] - self.theta_E[0])
            sigma = SPEED_OF_LIGHT * math.sqrt(theta_E / (4 * math.pi * share * ARCSEC))
        if not self.theta_E[0] <= theta_E <= self.theta_E[1]:
            return None
        e = min(0.5, max(0.0, math.hypot(galaxy.e1, galaxy.e2) + stretch))
        angle = math.atan2(galaxy.e2, galaxy.e1) + 2 * turn
        return Deflector(
            theta_E=theta_E,
            e1=e * math.cos(angle),
            e2=e * math.sin(angle),
            gamma1=shear * math.cos(direction),
            gamma2=shear * math.sin(direction),
            z_lens=z_lens,
            z_source=z_source,
            sigma_v=sigma,
        )

    def distance_ratio(self, z_lens: float, z_source: float) -> float:
        """Return `D_ls / D_s` of a flat universe."""
        near, far = (comoving(self.cosmology, z) for z in (z_lens, z_source))
        return (far - near) / far

    def absolute_magnitude(self, galaxy: Galaxy, camera: Camera, z: float) -> float:
        """Return M_r of the galaxy as it would be at redshift 0, NaN where its flux or the zero point is not known."""
        if camera.zero_points is None:
            return math.nan
        band = camera.reference
        r = magnitudes(galaxy, camera)[band] - colour_of(camera.bands[band])[1]
        modulus = 5 * math.log10(comoving(self.cosmology, z) * (1 + z) * 1e5)
        k = float(np.interp(z, OLD_STARS[:, 0], OLD_STARS[:, 4]))
        return r - modulus - k + 0.85 * z

    def _redshift(self, galaxy: Galaxy, camera: Camera, rng: np.random.Generator) -> float:
        """Draw a redshift: the prior, times how well an old galaxy's colours there are those of this one."""
        grid, prior = _density(self.z_lens)
        chi2 = np.zeros_like(grid)
        if camera.zero_points is not None:
            seen = dict(zip(camera.bands, magnitudes(galaxy, camera), strict=True))
            for blue, red, column in PAIRS:
                if np.isfinite(colour := seen.get(blue, math.nan) - seen.get(red, math.nan)):
                    expected = np.interp(grid, OLD_STARS[:, 0], OLD_STARS[:, column])
                    chi2 += ((colour - expected) / COLOUR_ERROR) ** 2
        weight = np.cumsum(prior * np.exp(-0.5 * (chi2 - chi2.min())))
        return float(np.interp(rng.random(), weight / weight[-1], grid))


def magnitudes(galaxy: Galaxy, camera: Camera) -> np.ndarray:
    """Return AB magnitudes of the galaxy `(bands,)`, NaN where its flux or the zero point is not known."""
    if camera.zero_points is None:
        return np.full(len(camera.bands), np.nan)
    return np.array(camera.zero_points) - 2.5 * np.log10(galaxy.flux)


@functools.lru_cache(maxsize=8)
def _density(prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid over a prior's support, and its density there up to a factor, from draws."""
    grid = np.linspace(*prior.support, 161)
    drawn = prior.draw(np.random.default_rng(0), 200_000)
    edges = np.append(grid, 2 * grid[-1] - grid[-2]) - 0.5 * (grid[1] - grid[0])
    return grid, np.histogram(drawn, edges)[0] + 1.0


@functools.lru_cache(maxsize=8)
def _comoving_grid(cosmology: Cosmology) -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(0.0, FARTHEST, 1601)
    return z, np.asarray(cosmology.astropy.comoving_distance(z).to_value("Mpc"))


def comoving(cosmology: Cosmology, z: float) -> float:
    """Return the comoving distance in Mpc, between the points of a grid 0.005 apart."""
    return float(np.interp(z, *_comoving_grid(cosmology)))
