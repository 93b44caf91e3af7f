"""Subhaloes of cold, warm and self-interacting dark matter, and vortices of axions, at physical distances."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

import darklens.simulate.halos as halos
from darklens.errors import InputError, unknown
from darklens.lensing import CoredTNFWHalos, Mass, PointMasses, TNFWHalos
from darklens.simulate.populations.base import Perturbers, System, points
from darklens.simulate.populations.dark_matter import COLD, COSMOLOGY, DarkMatter, halo_profiles
from darklens.simulate.populations.deeplense import de_broglie_arcsec
from darklens.simulate.populations.line_of_sight import LineOfSight
from darklens.simulate.populations.physical import PhysicalLens
from darklens.simulate.priors import ANGLE, Fixed, PowerLaw, Prior, Uniform, check_support

KINDS = ("no_sub", "cdm", "wdm", "sidm", "axion")
MAX_HALOS = 100_000
"""Most haloes that one system may be expected to have."""
SLOPES = -3.5, -1.001
"""Between which slopes of a mass function may be drawn."""


@dataclass(frozen=True, kw_only=True)
class Subhalos(PhysicalLens):
    """Truncated NFW subhaloes of a mass function before a smooth lens; the classes are kinds of dark matter.

    - `no_sub`: the smooth lens alone.
    - `cdm`: `dN/dm ~ m^-1.9` (Springel et al. 2008), or with the slope that `slope_sub` draws for each lens, between the limits of
      `m_sub`. The number is Poisson with the mean that makes the expected projected mass in subhaloes within the Einstein radius
      `f_sub` of all mass there, `f_sub pi theta_E^2 Sigma_cr`. Lenses say 0.5% to 2% (Vegetti et al. 2014; Hsueh et al. 2020).
    - `wdm`: the same, thinned out by the half-mode suppression (Lovell 2020) and less concentrated (Bose et al. 2016). `f_sub`
      is that of the cold population before thinning, so that it means the same in each class.
    - `sidm`: the cold population with cores of the size where a particle scatters once.
    - `axion`: a vortex of fixed mass through the middle, as a string of points, as DeepLenseSim has it.

    What stands in substructure is taken out of the smooth lens, so that `theta_E` is the Einstein radius of all mass, in the
    mean, and no class is betrayed by a larger ring.

    Args:
        classes: any of `no_sub`, `cdm`, `wdm`, `sidm`, `axion`.
        radial: "uniform" over the disc, as numbers in the flat middle of a host are, or "nfw", the projected NFW profile of
            scale `host_scale`.
        r_max: radius of the disc that is filled, in units of theta_E.
        host_scale: scale radius of the host in kpc: along the line of sight, distances at projected R have the density
            `(R^2 + host_scale^2 + z^2)^(-3/2)`, flat inside and falling as NFW outside (Gao et al. 2004). It sets how deep in
            the host, and so how stripped, a subhalo is.
        host_radius: subhaloes are within so many kpc of the host's middle along the line of sight.
        line_of_sight: haloes before and behind the lens; None for none. `no_sub` has none.

    Raises:
        InputError: a prior or a limit without meaning.
    """

    classes: tuple[str, ...] = ("no_sub", "cdm", "wdm", "sidm")
    perturber_profiles: tuple[type[Mass], ...] = (TNFWHalos, CoredTNFWHalos, PointMasses)
    radial: str = "uniform"
    r_max: float = 2.0
    host_scale: float = 100.0
    host_radius: float = 350.0
    scatter_dex: float = 0.11
    line_of_sight: LineOfSight | None = None

    #                                       priors, one per line
    f_sub: Prior = Uniform(0.005, 0.02)
    m_sub: PowerLaw = PowerLaw(-1.9, 3e7, 1e10)  # M_sun
    slope_sub: Prior | None = None  #       of each lens, in place of that of m_sub
    log10_m_hm: Prior = Uniform(8.0, 9.5)  # half-mode mass, M_sun
    cross_section: Prior = Uniform(1.0, 10.0)  # cm^2/g
    vortex_mass: Prior = Fixed(3e10)  #     M_sun
    log10_m_axion: Prior = Uniform(-24.0, -22.0)  # eV
    vortex_points: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.classes:
            if name not in KINDS:
                raise unknown("class of dark matter", name, KINDS)
        if self.radial not in ("uniform", "nfw"):
            raise unknown("radial distribution", self.radial, ("uniform", "nfw"))
        if not self.m_sub.low > 0:
            raise InputError(f"subhalo masses from {self.m_sub.low:g} M_sun: the lower limit must be above 0; raise it")
        if not (self.r_max > 0 and self.host_scale > 0 and self.host_radius > 0):
            raise InputError(
                f"r_max {self.r_max:g}, host_scale {self.host_scale:g}, host_radius {self.host_radius:g}: all must be above 0"
            )
        check_support("f_sub", self.f_sub, 0.0, 1.0)
        check_support("cross_section", self.cross_section, 0.0)
        steepest = self.m_sub
        if self.slope_sub is not None:
            check_support("slope_sub", self.slope_sub, *SLOPES)
            steepest = replace(self.m_sub, slope=self.slope_sub.support[0])
        ends = self.f_sub.support[1], self.theta_E.support[1], steepest
        at_most = COSMOLOGY.critical_surface_density_at_most(self.z_lens, self.z_source)
        if self._expected(*ends, at_most) > MAX_HALOS and (most := self.expected_number(*ends)) > MAX_HALOS:
            raise InputError(
                f"f_sub up to {self.f_sub.support[1]:g} from {self.m_sub.low:g} M_sun makes {most:,.0f} haloes a system, "
                f"and {MAX_HALOS:,} is the limit: raise the lower limit of m_sub or lower f_sub"
            )

    @property
    def plane_redshifts(self) -> tuple[float, ...]:
        """Redshifts of the planes on the line of sight."""
        return self.line_of_sight.redshifts(self.z_lens, self.z_source) if self.line_of_sight else ()

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: smooth lens, source, and what the classes have."""
        extra = {
            "wdm": ("log10_m_hm",),
            "sidm": ("cross_section",),
            "axion": ("log10_m_axion", "vortex_theta_v", "vortex_half_length", "vortex_angle"),
        }
        own = tuple(column for kind in KINDS if kind in self.classes for column in extra.get(kind, ()))
        los = ("n_los", "m_los") if self.line_of_sight else ()
        slope = ("slope_sub",) if self.slope_sub is not None else ()
        return (*self.smooth_columns(), "n_sub", "m_sub", "f_sub", *slope, *los, *own)

    def expected_number(self, f_sub: float, theta_E: float, law: PowerLaw | None = None) -> float:
        """Return the mean number of cold subhaloes in the disc of radius `r_max theta_E`, of a mass function or that of `m_sub`."""
        return self._expected(f_sub, theta_E, law or self.m_sub, self.sigma_critical)

    def _expected(self, f_sub: float, theta_E: float, law: PowerLaw, sigma_critical: float) -> float:
        within = f_sub * math.pi * theta_E**2 * sigma_critical / law.mean()
        return within * float(self._enclosed(self.r_max * theta_E) / self._enclosed(theta_E))

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system."""
        lens, shear, source, light, truth = self.draw_smooth(rng)
        truth |= {"n_sub": 0.0, "m_sub": 0.0, "f_sub": 0.0} | ({} if self.slope_sub is None else {"slope_sub": math.nan})
        if self.line_of_sight:
            truth |= {"n_los": 0.0, "m_los": 0.0}
        n_planes = len(self.plane_redshifts)
        nothing: tuple[tuple[Perturbers, ...], tuple[float, ...]] = ({},) * n_planes, (0.0,) * n_planes
        if label == "no_sub":
            return System(lens, shear, source, {}, truth, light, *nothing)
        if label == "axion":
            perturbers, fraction, extra = self._vortex(lens, rng)
            return System(lens, shear, source, perturbers, truth | extra, light, *nothing, self.without(lens, fraction))
        matter, extra = self._dark_matter(label, rng)
        f_sub, law = self.f_sub.draw(rng), self.m_sub
        if self.slope_sub is not None:
            law = replace(law, slope=self.slope_sub.draw(rng))
            extra["slope_sub"] = law.slope
        perturbers, more = self._subhalos(lens, f_sub, law, matter, rng)
        extra |= more | {"f_sub": f_sub}
        planes = nothing
        if self.line_of_sight:
            radius = self.r_max * lens["theta_E"]
            haloes, sheets, more = self.line_of_sight.draw(self.z_lens, self.z_source, radius, matter, self.scatter_dex, rng)
            planes, extra = (haloes, sheets), extra | more
        macro = self.without(lens, f_sub * mean_suppression(law, matter.m_half_mode))
        return System(lens, shear, source, perturbers, truth | extra, light, *planes, macro)

    def _dark_matter(self, label: str, rng: np.random.Generator) -> tuple[DarkMatter, dict[str, float]]:
        if label == "wdm":
            log10_m = self.log10_m_hm.draw(rng)
            return DarkMatter(m_half_mode=10.0**log10_m), {"log10_m_hm": log10_m}
        if label == "sidm":
            cross_section = self.cross_section.draw(rng)
            return DarkMatter(cross_section=cross_section), {"cross_section": cross_section}
        return COLD, {}

    def _subhalos(
        self, lens: dict[str, float], f_sub: float, law: PowerLaw, matter: DarkMatter, rng: np.random.Generator
    ) -> tuple[Perturbers, dict[str, float]]:
        mass = law.draw(rng, rng.poisson(self.expected_number(f_sub, lens["theta_E"], law)))
        if matter.m_half_mode:  # a thinned Poisson process is one with the thinned rate
            mass = mass[rng.random(len(mass)) < halos.warm_suppression(mass, matter.m_half_mode)]
        radius, angle = self._radius(self.r_max * lens["theta_E"], rng, len(mass)), ANGLE.draw(rng, len(mass))
        x, y = radius * np.cos(angle) + lens["center_x"], radius * np.sin(angle) + lens["center_y"]
        r_trunc = halos.tidal_radius(mass, self._distance(radius, rng)) / self.kpc_per_arcsec
        perturbers = halo_profiles(mass, r_trunc, x, y, self.z_lens, self.z_source, matter, self.scatter_dex, rng)
        return perturbers, {"n_sub": float(len(mass)), "m_sub": float(mass.sum())}

    def _enclosed(self, radius: float | np.ndarray) -> float | np.ndarray:
        """Return the number of subhaloes within a projected radius in arcsec, up to a factor."""
        if self.radial == "uniform":
            return radius * radius
        return projected_nfw(radius * self.kpc_per_arcsec / self.host_scale)

    def _radius(self, largest: float, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw projected radii in arcsec within a largest one."""
        u = rng.random(n)
        if self.radial == "uniform":
            return largest * np.sqrt(u)
        x, enclosed = _nfw_table()
        scale = self.host_scale / self.kpc_per_arcsec
        return scale * np.interp(u * projected_nfw(largest / scale), enclosed, x)

    def _distance(self, radius: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the distance in kpc from the host's middle of subhaloes at projected radii in arcsec."""
        projected = radius * self.kpc_per_arcsec
        square = projected**2 + self.host_scale**2
        u = rng.random(len(radius)) * self.host_radius / np.sqrt(square + self.host_radius**2)
        return np.sqrt(projected**2 + square * u * u / (1 - u * u))

    def _vortex(self, lens: dict[str, float], rng: np.random.Generator) -> tuple[Perturbers, float, dict[str, float]]:
        log10_m, angle, mass = self.log10_m_axion.draw(rng), ANGLE.draw(rng), self.vortex_mass.draw(rng)
        half_length = de_broglie_arcsec(10.0**log10_m)
        theta_v = math.sqrt(mass / (math.pi * self.sigma_critical))
        along = np.linspace(-half_length, half_length, self.vortex_points)
        x, y = lens["center_x"] + along * math.cos(angle), lens["center_y"] + along * math.sin(angle)
        perturbers = points(np.full(self.vortex_points, theta_v / math.sqrt(self.vortex_points)), x, y)
        within = min(1.0, lens["theta_E"] / half_length) * (theta_v / lens["theta_E"]) ** 2
        truth = {"log10_m_axion": log10_m, "vortex_theta_v": theta_v}
        return perturbers, within, truth | {"vortex_half_length": half_length, "vortex_angle": angle}


def mean_suppression(law: PowerLaw, m_half_mode: float) -> float:
    """Return the ratio of warm to cold mean mass in subhaloes of a mass function."""
    if not m_half_mode:
        return 1.0
    mass, weight = _mass_grid(law)
    return float(weight @ halos.warm_suppression(mass, m_half_mode))


@functools.lru_cache(maxsize=16)
def _mass_grid(law: PowerLaw) -> tuple[np.ndarray, np.ndarray]:
    """Return masses, and the share of all mass that each stands for."""
    edges = np.geomspace(law.low, law.high, 257)
    share = np.diff(edges ** (law.slope + 2)) if law.slope != -2 else np.ones(256)
    return np.sqrt(edges[1:] * edges[:-1]), share / share.sum()


def projected_nfw(x: float | np.ndarray) -> float | np.ndarray:
    """Return the projected mass of an NFW profile within x scale radii, up to a factor (Lokas & Mamon 2001, eq. 43)."""
    square = np.maximum(np.abs(1 - np.square(x)), 1e-12)
    inverse = 1 / np.asarray(x)
    arc = np.where(inverse > 1, np.arccosh(np.maximum(inverse, 1.0)), np.arccos(np.minimum(inverse, 1.0)))
    return np.log(np.asarray(x) / 2) + arc / np.sqrt(square)


@functools.cache
def _nfw_table() -> tuple[np.ndarray, np.ndarray]:
    x = np.concatenate([[0.0], np.geomspace(1e-4, 100.0, 2000)])
    return x, np.concatenate([[0.0], projected_nfw(x[1:])])
