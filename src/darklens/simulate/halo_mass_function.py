"""How many haloes the universe has: the mass function of Sheth & Tormen (1999, MNRAS 308, 119).

The linear power spectrum is a power law times the transfer function without wiggles of Eisenstein & Hu (1998, ApJ 496, 605,
eqs. 26-31), normalised by sigma_8; the growth factor is that of Carroll, Press & Turner (1992, ARA&A 30, 499, eq. 29). Masses
are in M_sun, lengths in comoving Mpc. Far below 1e10 M_sun it is an extrapolation, as for everybody.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from darklens.lensing import Cosmology

OB0, SIGMA_8, N_S, T_CMB = 0.048, 0.81, 0.965, 2.7255
DELTA_C = 1.686
RHO_CRITICAL = 2.77536627e11
"""Critical density today, M_sun/Mpc^3 over h^2."""


def transfer(k: np.ndarray, cosmology: Cosmology) -> np.ndarray:
    """Return the transfer function at wave numbers in 1/Mpc (Eisenstein & Hu 1998, eqs. 26, 28-31)."""
    h = cosmology.H0 / 100
    om, ob, ratio = cosmology.Om0 * h * h, OB0 * h * h, OB0 / cosmology.Om0
    sound = 44.5 * math.log(9.83 / om) / math.sqrt(1 + 10 * ob**0.75)
    alpha = 1 - 0.328 * math.log(431 * om) * ratio + 0.38 * math.log(22.3 * om) * ratio**2
    gamma = cosmology.Om0 * h * (alpha + (1 - alpha) / (1 + (0.43 * k * sound) ** 4))
    q = k / h * (T_CMB / 2.7) ** 2 / gamma
    numerator = np.log(2 * math.e + 1.8 * q)
    return numerator / (numerator + (14.2 + 731 / (1 + 62.5 * q)) * q * q)


def growth(z: float, cosmology: Cosmology) -> float:
    """Return the linear growth factor, 1 today."""

    def unnormalised(z: float) -> float:
        square = cosmology.Om0 * (1 + z) ** 3 + 1 - cosmology.Om0
        m, v = cosmology.Om0 * (1 + z) ** 3 / square, (1 - cosmology.Om0) / square
        return 2.5 * m / (m ** (4 / 7) - v + (1 + m / 2) * (1 + v / 70)) / (1 + z)

    return unnormalised(z) / unnormalised(0.0)


@functools.lru_cache(maxsize=8)
def _sigma_table(cosmology: Cosmology) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(mass) and ln(sigma) today, by the integral over a spherical top hat."""
    h = cosmology.H0 / 100
    log_k = np.linspace(math.log(1e-4), math.log(1e5), 6000)
    k = np.exp(log_k)
    power = k ** (N_S + 3) * transfer(k, cosmology) ** 2

    def sigma(radius: float) -> float:
        kr = k * radius
        small = kr < 1e-2
        kr = np.where(small, 1.0, kr)
        window = np.where(small, 1.0, 3 * (np.sin(kr) - kr * np.cos(kr)) / kr**3)
        return math.sqrt(np.trapezoid(power * window**2, log_k))

    mass = np.geomspace(1e4, 1e16, 241)
    radii = np.cbrt(3 * mass / (4 * math.pi * cosmology.Om0 * RHO_CRITICAL * h * h))
    values = np.array([sigma(r) for r in radii]) * SIGMA_8 / sigma(8 / h)
    return np.log(mass), np.log(values)


def sheth_tormen(mass: np.ndarray, z: float, cosmology: Cosmology) -> np.ndarray:
    """Return `dn/dm` in comoving Mpc^-3 M_sun^-1.

    Args:
        mass: M_sun, 1e4 to 1e16.
        z: redshift.
        cosmology: H0 and Om0; sigma_8 0.81, n_s 0.965, Ob0 0.048.
    """
    log_m, log_sigma = _sigma_table(cosmology)
    slope = np.interp(np.log(mass), log_m, np.gradient(log_sigma, log_m))
    nu = DELTA_C / (np.exp(np.interp(np.log(mass), log_m, log_sigma)) * growth(z, cosmology))
    a_nu2 = 0.707 * nu * nu
    f = 0.3222 * np.sqrt(2 * a_nu2 / math.pi) * (1 + a_nu2**-0.3) * np.exp(-a_nu2 / 2)
    density = cosmology.Om0 * RHO_CRITICAL * (cosmology.H0 / 100) ** 2
    return f * density / mass**2 * np.abs(slope)
