"""What a halo's mass becomes in cold, warm and self-interacting dark matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import darklens.simulate.halos as halos
from darklens.lensing import CoredTNFWHalos, Cosmology, TNFWHalos
from darklens.simulate.populations.base import Perturbers

COSMOLOGY = Cosmology()
"""H0 = 70, Om0 = 0.3: what every table says it was made with."""


@dataclass(frozen=True)
class DarkMatter:
    """A kind of dark matter.

    Args:
        m_half_mode: half-mode mass in M_sun, zero for cold.
        cross_section: sigma/m in cm^2/g, zero for collisionless.
    """

    m_half_mode: float = 0.0
    cross_section: float = 0.0


COLD = DarkMatter()


def halo_profiles(
    mass: np.ndarray,
    r_trunc: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: float,
    z_source: float,
    matter: DarkMatter,
    scatter_dex: float,
    rng: np.random.Generator,
) -> Perturbers:
    """Return truncated haloes in a plane, cored where dark matter interacts.

    Args:
        mass: total masses, M_sun.
        r_trunc: truncation radii, arcsec.
        x: arcsec.
        y: arcsec.
        z: redshift of the plane.
        z_source: redshift of the source.
        matter: kind of dark matter.
        scatter_dex: scatter of log10 concentration.
        rng: generator of the row.
    """
    critical, scale = halos.sigma_critical(z, z_source, COSMOLOGY), halos.kpc_per_arcsec(z, COSMOLOGY)
    c = halos.concentration(mass, z, COSMOLOGY) * 10 ** (scatter_dex * rng.standard_normal(len(mass)))
    if matter.m_half_mode:
        c = c * halos.warm_concentration(mass, z, matter.m_half_mode)
    Rs = halos.virial_radius(mass, z, COSMOLOGY) / c / scale
    profile = {"Rs": Rs, "r_trunc": r_trunc, "center_x": x, "center_y": y}
    if not matter.cross_section:
        return {TNFWHalos: profile | {"alpha_Rs": halos.tnfw_alpha_Rs(mass, Rs, r_trunc, critical)}}
    r_trunc = np.where(np.abs(r_trunc / Rs - 1) < 1e-3, 1.001 * Rs, r_trunc)  # the closed form is 0/0 at r_trunc = Rs
    core = halos.core_radius(mass, c, z, matter.cross_section, COSMOLOGY) * Rs
    r_core = np.minimum(core, 0.9 * np.minimum(Rs, r_trunc))
    alpha_Rs = halos.cored_alpha_Rs(mass, Rs, r_trunc, r_core, critical)
    return {CoredTNFWHalos: profile | {"alpha_Rs": alpha_Rs, "r_trunc": r_trunc, "r_core": r_core}}
