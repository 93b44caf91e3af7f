"""One dark halo before a smooth lens, of known mass and place: to find, to weigh, to localise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import darklens.simulate.halos as halos
from darklens.errors import InputError
from darklens.lensing import Mass, TNFWHalos
from darklens.simulate.populations.base import System
from darklens.simulate.populations.dark_matter import COLD, halo_profiles
from darklens.simulate.populations.physical import PhysicalLens
from darklens.simulate.priors import ANGLE, Prior, Uniform, check_support


@dataclass(frozen=True, kw_only=True)
class Perturber(PhysicalLens):
    """A smooth lens, alone (`no_sub`) or with one truncated NFW subhalo near its Einstein ring (`sub`).

    The halo's mass is added to the smooth lens, not taken out of it: it is what one wants to see. Truth columns `m_sub`, `x_sub`,
    `y_sub` say which and where.

    Args:
        r3d: distance from the host's middle in kpc, which sets how stripped the halo is.
        scatter_dex: scatter of log10 concentration about Dutton & Maccio (2014).

    Raises:
        InputError: a prior without meaning.
    """

    classes: tuple[str, ...] = ("no_sub", "sub")
    perturber_profiles: tuple[type[Mass], ...] = (TNFWHalos,)
    scatter_dex: float = 0.11

    #                                       priors, one per line
    log10_m_sub: Prior = Uniform(8.0, 10.0)  # M_sun
    r_sub: Prior = Uniform(0.6, 1.4)  #     distance from the lens, in units of theta_E, any direction
    r3d: Prior = Uniform(50.0, 300.0)  #    kpc

    def __post_init__(self) -> None:
        super().__post_init__()
        check_support("r_sub", self.r_sub, 0.0)
        check_support("r3d", self.r3d, 0.0, open_low=True)
        if any(name not in ("no_sub", "sub") for name in self.classes):
            raise InputError(f"classes {', '.join(self.classes)} of a single perturber: they can only be no_sub and sub")

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: smooth lens, source, and the halo."""
        return (*self.smooth_columns(), "n_sub", "m_sub", "x_sub", "y_sub")

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system."""
        lens, shear, source, light, truth = self.draw_smooth(rng)
        if label == "no_sub":
            return System(lens, shear, source, {}, truth | {"n_sub": 0.0, "m_sub": 0.0}, light)
        mass = 10.0 ** self.log10_m_sub.draw(rng, 1)
        radius, angle = self.r_sub.draw(rng) * lens["theta_E"], ANGLE.draw(rng)
        x, y = lens["center_x"] + radius * math.cos(angle), lens["center_y"] + radius * math.sin(angle)
        distance = np.maximum(self.r3d.draw(rng, 1), radius * self.kpc_per_arcsec)  # not nearer than it is seen
        r_trunc = halos.tidal_radius(mass, distance) / self.kpc_per_arcsec
        place = np.array([x]), np.array([y])
        perturbers = halo_profiles(mass, r_trunc, *place, self.z_lens, self.z_source, COLD, self.scatter_dex, rng)
        truth |= {"n_sub": 1.0, "m_sub": float(mass[0]), "x_sub": x, "y_sub": y}
        return System(lens, shear, source, perturbers, truth, light)
