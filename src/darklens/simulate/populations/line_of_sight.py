"""Haloes before and behind the lens, in planes of a double cone between observer and source."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import darklens.simulate.halos as halos
from darklens.errors import InputError
from darklens.simulate.halo_mass_function import sheth_tormen
from darklens.simulate.populations.base import Perturbers
from darklens.simulate.populations.dark_matter import COSMOLOGY, DarkMatter, halo_profiles
from darklens.simulate.priors import ANGLE

FIELD = {"a": 2.3, "b": 0.8, "c": -1.0}
"""Half-mode suppression of haloes in the field (Lovell 2020)."""


@dataclass(frozen=True)
class Slab:
    """What one plane stands for.

    Args:
        z: redshift of the plane.
        narrowing: angular radius of the cone here, over that at the lens.
        per_arcsec2: mean number of haloes per arcsec^2.
        log_mass: grid of ln(mass), M_sun.
        cumulative: share of the haloes below each.
        mean_mass: M_sun.
    """

    z: float
    narrowing: float
    per_arcsec2: float
    log_mass: np.ndarray
    cumulative: np.ndarray
    mean_mass: float


@dataclass(frozen=True)
class LineOfSight:
    """Haloes of the Sheth & Tormen (1999) mass function, in planes, truncated at their virial radius.

    The mean density of the universe is in the distances already: a sheet of negative convergence in each plane takes out what the
    haloes of that plane add in the mean. Behind the lens the cone narrows towards the source as the rays of an Einstein ring do, to
    no less than `narrowest` of its width.

    Args:
        n_planes: planes at even comoving steps between observer and source; none in the lens itself.
        m_low: M_sun.
        m_high: M_sun.
        narrowest: least angular radius of the cone, over that at the lens.

    Raises:
        InputError: limits out of order, or no plane.
    """

    n_planes: int = 8
    m_low: float = 1e7
    m_high: float = 1e10
    narrowest: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.m_low < self.m_high:
            raise InputError(
                f"haloes from {self.m_low:g} to {self.m_high:g} M_sun: the lower limit must be above 0 and below the upper"
            )
        if not (2 <= self.n_planes <= 200 and 0 < self.narrowest <= 1):
            raise InputError(
                f"{self.n_planes} planes, narrowest {self.narrowest:g}: give 2 to 200 planes and a narrowest in (0, 1]"
            )

    def redshifts(self, z_lens: float, z_source: float) -> tuple[float, ...]:
        """Return the redshifts of the planes, nearest first."""
        return tuple(slab.z for slab in _slabs(self, z_lens, z_source))

    def draw(
        self, z_lens: float, z_source: float, radius: float, matter: DarkMatter, scatter_dex: float, rng: np.random.Generator
    ) -> tuple[tuple[Perturbers, ...], tuple[float, ...], dict[str, float]]:
        """Draw the haloes of one system.

        Args:
            z_lens: redshift of the lens.
            z_source: redshift of the source.
            radius: angular radius of the cone at the lens, arcsec.
            matter: kind of dark matter.
            scatter_dex: scatter of log10 concentration.
            rng: generator of the row.

        Returns:
            The haloes of each plane, the convergence of each plane's sheet, and the truth `n_los` and `m_los`.
        """
        planes, sheets, number, total = [], [], 0, 0.0
        for slab in _slabs(self, z_lens, z_source):
            reach = radius * slab.narrowing
            mass = np.exp(np.interp(rng.random(rng.poisson(slab.per_arcsec2 * math.pi * reach**2)), slab.cumulative, slab.log_mass))
            if matter.m_half_mode:
                mass = mass[rng.random(len(mass)) < halos.warm_suppression(mass, matter.m_half_mode, **FIELD)]
            r, angle = reach * np.sqrt(rng.random(len(mass))), ANGLE.draw(rng, len(mass))
            r_trunc = halos.virial_radius(mass, slab.z, COSMOLOGY) / halos.kpc_per_arcsec(slab.z, COSMOLOGY)
            place = r * np.cos(angle), r * np.sin(angle)
            planes.append(halo_profiles(mass, r_trunc, *place, slab.z, z_source, matter, scatter_dex, rng))
            critical = halos.sigma_critical(slab.z, z_source, COSMOLOGY)
            sheets.append(-slab.per_arcsec2 * slab.mean_mass * _thinned(slab, matter.m_half_mode) / critical)
            number, total = number + len(mass), total + float(mass.sum())
        return tuple(planes), tuple(sheets), {"n_los": float(number), "m_los": total}


def _thinned(slab: Slab, m_half_mode: float) -> float:
    """Return the ratio of warm to cold mean mass in a slab."""
    if not m_half_mode:
        return 1.0
    middle = np.exp(0.5 * (slab.log_mass[1:] + slab.log_mass[:-1]))
    weight = np.diff(slab.cumulative) * middle
    return float(weight @ halos.warm_suppression(middle, m_half_mode, **FIELD) / weight.sum())


@functools.lru_cache(maxsize=32)
def _slabs(los: LineOfSight, z_lens: float, z_source: float) -> tuple[Slab, ...]:
    """Cut the way to the source into slabs of even comoving depth."""
    z_grid = np.linspace(0.0, z_source, 400)
    chi_grid = COSMOLOGY.astropy.comoving_distance(z_grid).to_value("Mpc")
    edges = np.linspace(0.0, chi_grid[-1], los.n_planes + 1)
    log_mass = np.linspace(math.log(los.m_low), math.log(los.m_high), 257)
    slabs = []
    for near, far in pairwise(edges):
        chi = 0.5 * (near + far)
        z = float(np.interp(chi, chi_grid, z_grid))
        number = sheth_tormen(np.exp(log_mass), z, COSMOLOGY) * np.exp(log_mass)  # per ln(mass)
        steps = 0.5 * (number[1:] + number[:-1]) * np.diff(log_mass)
        cumulative = np.concatenate([[0.0], np.cumsum(steps)])
        middle = np.exp(0.5 * (log_mass[1:] + log_mass[:-1]))
        volume = (far**3 - near**3) / 3 * halos.ARCSEC**2  # comoving, per arcsec^2
        share = _narrowing(z, z_lens, z_source, los.narrowest)
        slabs.append(
            Slab(z, share, volume * cumulative[-1], log_mass, cumulative / cumulative[-1], float(steps @ middle / steps.sum()))
        )
    return tuple(slabs)


def _narrowing(z: float, z_lens: float, z_source: float, narrowest: float) -> float:
    """Return the cone's angular radius: 1 up to the lens, and behind it what the rays of an Einstein ring leave of theirs."""
    if z <= z_lens:
        return 1.0
    between = COSMOLOGY.distance(z, z_lens) / COSMOLOGY.distance(z)
    whole = COSMOLOGY.distance(z_source, z_lens) / COSMOLOGY.distance(z_source)
    return max(narrowest, 1 - between / whole)
