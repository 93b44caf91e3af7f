"""The population of the public DeepLenseSim scripts."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from darklens.lensing import SIE, Cosmology
from darklens.simulate.populations.base import Perturbers, Population, System, points, truth_of
from darklens.simulate.priors import ANGLE, Fixed, PowerLaw, Prior, Uniform

Masses = TypeVar("Masses", float, np.ndarray)


@dataclass(frozen=True)
class DeepLenseSim(Population):
    """The population of the public DeepLenseSim scripts, as published, line by line (Models I, II and III).

    A fixed SIE with shear and a fixed Sersic source at a random place; `no_sub` is the lens alone, `cdm` adds 25 point masses,
    `axion` a vortex as a string of 100 equal point masses. The defects of those scripts are kept, and are these:

    1. Einstein radii come from luminosity distances with `D_ls = D_s - D_l`.
    2. The subhalo mass function has slope -0.9, where -1.9 is documented.
    3. A Poisson number of subhalos is drawn there and ignored: always 25.
    7. In Models II and III lenstronomy rescales every deflection (`deflection_scale`), because the scripts hand it
       `z_source_convention = 2.5` with a source at 1.0.

    Args:
        source_amp: surface brightness at `R_sersic`, flux/arcsec^2.
        deflection_scale: factor on every deflection; 1 for Model I.
    """

    source_amp: float
    deflection_scale: float = 1.0

    classes = ("no_sub", "cdm", "axion")
    lens_profile = SIE

    #                                       priors, one per line
    lens_mass: Prior = Fixed(1e12)  #       M_sun
    e1: Prior = Fixed(0.1)
    e2: Prior = Fixed(0.0)
    gamma1: Prior = Fixed(0.05)
    gamma2: Prior = Fixed(0.0)
    source_x: Prior = Uniform(-0.35, 0.35)  # arcsec
    source_y: Prior = Uniform(-0.35, 0.35)
    R_sersic: Prior = Fixed(0.25)
    n_sersic: Prior = Fixed(1.0)
    source_e1: Prior = Fixed(-0.1)
    source_e2: Prior = Fixed(0.1)
    n_sub: int = 25
    m_sub: Prior = PowerLaw(-0.9, 1e6, 1e10)  # M_sun
    r_sub: Prior = Uniform(0.25, 2.0)  #    arcsec from the centre
    vortex_mass: float = 3e10  #            M_sun
    vortex_points: int = 100
    log10_m_axion: Prior = Uniform(-24.0, -22.0)  # eV

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: lens, source, number and total mass of subhalos, axion mass, vortex."""
        return (
            *("theta_E", "e1", "e2", "gamma1", "gamma2", "z_lens", "z_source"),
            *("source_x", "source_y", "source_e1", "source_e2", "R_sersic", "n_sersic", "source_amp"),
            *("n_sub", "m_sub", "log10_m_axion", "vortex_half_length", "vortex_angle"),
        )

    def einstein_radius(self, mass: Masses) -> Masses:
        """Return the Einstein radius in arcsec of a mass in M_sun, with defects 1 and 7."""
        return _radius_of_one_sun(self.z_lens, self.z_source) * np.sqrt(mass * self.deflection_scale)

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system; the macro lens and the source come first, so that classes share them for one generator."""
        # The SIE's Einstein radius is linear in the deflection scale, a point mass's goes with its square root.
        radius = _radius_of_one_sun(self.z_lens, self.z_source)
        theta_e = float(radius * math.sqrt(self.lens_mass.draw(rng)) * self.deflection_scale)
        lens = {"theta_E": theta_e, "e1": self.e1.draw(rng), "e2": self.e2.draw(rng), "center_x": 0.0, "center_y": 0.0}
        shear = (self.gamma1.draw(rng) * self.deflection_scale, self.gamma2.draw(rng) * self.deflection_scale)
        source = {
            "amp": self.source_amp,
            "R_sersic": self.R_sersic.draw(rng),
            "n_sersic": self.n_sersic.draw(rng),
            "e1": self.source_e1.draw(rng),
            "e2": self.source_e2.draw(rng),
            "center_x": self.source_x.draw(rng),
            "center_y": self.source_y.draw(rng),
        }
        truth = truth_of(lens, shear, source) | {
            "z_lens": self.z_lens,
            "z_source": self.z_source,
            "n_sub": 0.0,
            "m_sub": 0.0,
        }
        perturbers, extra = self._substructure(label, rng)
        return System(lens, shear, source, perturbers, truth | extra)

    def _substructure(self, label: str, rng: np.random.Generator) -> tuple[Perturbers, dict[str, float]]:
        if label == "cdm":
            mass = self.m_sub.draw(rng, self.n_sub)
            r, angle = self.r_sub.draw(rng, self.n_sub), ANGLE.draw(rng, self.n_sub)
            many = points(self.einstein_radius(mass), r * np.sin(angle), r * np.cos(angle))
            return many, {"n_sub": float(self.n_sub), "m_sub": float(mass.sum())}
        if label == "axion":
            log10_m = self.log10_m_axion.draw(rng)
            half_length = de_broglie_arcsec(10.0**log10_m)
            angle = ANGLE.draw(rng)
            along = np.linspace(-half_length, half_length, self.vortex_points)
            theta = np.full(self.vortex_points, self.einstein_radius(self.vortex_mass / self.vortex_points))
            many = points(theta, along * np.cos(angle), along * np.sin(angle))
            return many, {"log10_m_axion": log10_m, "vortex_half_length": half_length, "vortex_angle": angle}
        return {}, {}


@functools.cache
def _radius_of_one_sun(z_lens: float, z_source: float) -> float:
    return Cosmology().einstein_radius_as_published(1.0, z_lens, z_source)


Number = TypeVar("Number", float, Tensor)


def de_broglie_arcsec(m_axion: Number) -> Number:
    """Return the de Broglie length in arcsec at z = 0.5 of an axion of this mass in eV (DeepLenseSim)."""
    return 0.06 / (2.0 * m_axion / 1e-22)
