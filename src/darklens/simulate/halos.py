"""Dark haloes as the literature has them: how many, how concentrated, how stripped, how warm, how cored.

Masses are in M_sun (not over h), radii in kpc (proper), concentrations are `c_200` against the critical density. Everything is
plain numpy over arrays of haloes.

A subhalo's mass m is the total mass of its truncated profile: the mass that bends light. Its scale radius is that of a field
halo of mass m, and its density is raised until the total is m: what is left of a bigger halo that was stripped is denser than
a halo of its mass in the field (Moline et al. 2017, MNRAS 466, 4974).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from darklens.lensing import Cosmology

G = 4.300917270e-6
"""Gravitational constant, kpc (km/s)^2 / M_sun."""
ARCSEC = math.pi / (180 * 3600)
CM2_PER_G = 2.0889e-10
"""1 cm^2/g in kpc^2/M_sun."""
KPC_PER_KM_S_GYR = 1.022712
"""How far 1 km/s goes in a Gyr, in kpc."""


def critical_density(z: float | np.ndarray, cosmology: Cosmology) -> float | np.ndarray:
    """Return the critical density in M_sun/kpc^3."""
    hubble = 1e-3 * cosmology.H0  # km/s/kpc
    return 3 * hubble**2 / (8 * math.pi * G) * (cosmology.Om0 * (1 + z) ** 3 + 1 - cosmology.Om0)


@functools.lru_cache(maxsize=256)
def kpc_per_arcsec(z: float, cosmology: Cosmology) -> float:
    """Return proper kpc per arcsec at a redshift."""
    return 1e3 * cosmology.distance(z) * ARCSEC


@functools.lru_cache(maxsize=256)
def sigma_critical(z: float, z_source: float, cosmology: Cosmology) -> float:
    """Return the critical surface density in M_sun/arcsec^2."""
    return cosmology.critical_surface_density(z, z_source)


def concentration(mass: np.ndarray, z: float | np.ndarray, cosmology: Cosmology) -> np.ndarray:
    """Return the median concentration of haloes (Dutton & Maccio 2014, MNRAS 441, 3359, eqs. 7, 10, 11).

    Their relation is fitted above 1e10 M_sun/h and extrapolated here; the scatter about it is 0.11 dex.
    """
    a = 0.520 + (0.905 - 0.520) * np.exp(-0.617 * np.asarray(z) ** 1.21)
    b = -0.101 + 0.026 * np.asarray(z)
    return 10 ** (a + b * np.log10(mass * cosmology.H0 / 100 / 1e12))


def warm_concentration(mass: np.ndarray, z: float | np.ndarray, m_half_mode: float) -> np.ndarray:
    """Return the ratio of warm to cold concentrations (Bose et al. 2016, MNRAS 455, 318, eq. 17)."""
    return (1 + np.asarray(z)) ** (0.026 * np.asarray(z) - 0.04) * (1 + 60 * m_half_mode / mass) ** -0.17


def warm_suppression(mass: np.ndarray, m_half_mode: float, a: float = 4.2, b: float = 2.5, c: float = -0.2) -> np.ndarray:
    """Return the ratio of warm to cold numbers, `[1 + (a m_hm/m)^b]^c` (Lovell 2020, ApJ 897, 147).

    The defaults are his for subhaloes; for haloes in the field a = 2.3, b = 0.8, c = -1.
    """
    return (1 + (a * m_half_mode / mass) ** b) ** c


def half_mode_mass(m_wdm_keV: float) -> float:
    """Return the half-mode mass in M_sun of a thermal relic of this mass in keV (Schneider et al. 2012; Gilman et al. 2020)."""
    return 5e8 * (m_wdm_keV / 3) ** -3.33


def virial_radius(mass: np.ndarray, z: float | np.ndarray, cosmology: Cosmology) -> np.ndarray:
    """Return the radius in kpc inside which the mean density is 200 times the critical one."""
    return (3 * mass / (800 * math.pi * critical_density(z, cosmology))) ** (1 / 3)


def tidal_radius(mass: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the truncation radius in kpc of a subhalo at a distance r in kpc from the middle of its host.

    `1.4 kpc (m / 1e7 M_sun)^(1/3) (r / 50 kpc)^(2/3)`: the Roche limit in an isothermal host (Cyr-Racine et al. 2016, PRD 94,
    043505; Gilman et al. 2018, MNRAS 481, 819).
    """
    return 1.4 * np.cbrt(mass / 1e7) * np.cbrt(r / 50.0) ** 2


def core_radius(mass: np.ndarray, c: np.ndarray, z: float | np.ndarray, cross_section: float, cosmology: Cosmology) -> np.ndarray:
    """Return the core of a self-interacting halo in units of its scale radius.

    It is where a particle has scattered once, `rho(r) <sigma v>/m t = 1` (Kaplinghat, Tulin & Yu 2016, PRL 116, 041302, eq. 2),
    with the NFW density, `<v> = (4/sqrt(pi)) V_max/sqrt(3)` and an age t of 5 Gyr.

    Args:
        mass: M_sun.
        c: concentrations.
        z: redshift.
        cross_section: sigma/m, cm^2/g.
        cosmology: for the density.
    """
    m_c = np.log1p(c) - c / (1 + c)
    rho_s = 200 / 3 * critical_density(z, cosmology) * c**3 / m_c
    v_max = np.sqrt(G * mass / virial_radius(mass, z, cosmology) * 0.216 * c / m_c)
    relative = 4 / math.sqrt(3 * math.pi) * v_max * KPC_PER_KM_S_GYR
    k = rho_s * cross_section * CM2_PER_G * relative * 5.0  # x (1 + x)^2 = k
    x = np.minimum(k, np.cbrt(k))  # above the root, from where Newton's method descends
    for _ in range(6):
        x = x - (x * (1 + x) ** 2 - k) / ((1 + x) * (1 + 3 * x))
    return x


def tnfw_alpha_Rs(mass: np.ndarray, Rs: np.ndarray, r_trunc: np.ndarray, critical: float | np.ndarray) -> np.ndarray:
    """Return the `alpha_Rs` in arcsec with which a truncated NFW profile has a total mass.

    `alpha_Rs` is the deflection at `Rs` of the profile before truncation, `M_0 (1 - ln 2)/(pi Rs Sigma_cr)`; the total mass is
    `M_0 tau^2/(1+tau^2)^2 [(tau^2-1) ln tau + pi tau - (tau^2+1)]` (Baltz, Marshall & Oguri 2009, JCAP 01, 015, eq. A.4).

    Args:
        mass: total mass, M_sun.
        Rs: scale radius, arcsec.
        r_trunc: truncation radius, arcsec.
        critical: critical surface density, M_sun/arcsec^2.
    """
    tau = r_trunc / Rs
    square = tau * tau
    total = square / (1 + square) ** 2 * ((square - 1) * np.log(tau) + math.pi * tau - (square + 1))
    return mass / total * (1 - math.log(2)) / (math.pi * Rs * critical)


def cored_alpha_Rs(
    mass: np.ndarray, Rs: np.ndarray, r_trunc: np.ndarray, r_core: np.ndarray, critical: float | np.ndarray
) -> np.ndarray:
    """Return the `alpha_Rs` in arcsec with which a cored truncated NFW profile has a total mass.

    The density is `rho_0 / [sqrt(beta^2+x^2) (1+x^2) (1+x^2/tau^2)]` with `x = r/Rs`, and `alpha_Rs` the deflection at `Rs`
    (lenstronomy's TNFWC). In partial fractions it is a difference of two terms over `a^2 + x^2` with a = 1 and a = tau, whose
    projected mass is elementary: `G_a(R) = (2/d)[s artanh(d/s) - a artanh(d/a)] + ln(1 + R^2/beta^2)` with `d^2 = a^2 - beta^2` and
    `s^2 = a^2 + R^2`.

    Args:
        mass: total mass, M_sun.
        Rs: scale radius, arcsec.
        r_trunc: truncation radius, arcsec, other than `Rs`.
        r_core: core radius, arcsec, below `Rs` and `r_trunc`.
        critical: critical surface density, M_sun/arcsec^2.
    """
    tau, beta = r_trunc / Rs, r_core / Rs

    def middle(a: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        d = np.sqrt(a * a - beta * beta)
        return d, a / d * np.arctanh(d / a)

    (d_1, m_1), (d_tau, m_tau) = middle(1.0), middle(tau)
    s_1, s_tau = math.sqrt(2.0), np.sqrt(tau * tau + 1)
    within_Rs = s_1 / d_1 * np.arctanh(d_1 / s_1) - s_tau / d_tau * np.arctanh(d_tau / s_tau) + m_tau - m_1
    return mass * within_Rs / (m_tau - m_1) / (math.pi * Rs * critical)
