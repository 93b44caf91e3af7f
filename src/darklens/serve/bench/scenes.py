"""From the numbers on the bench to a scene.

Masses are in M_sun, at the redshifts of the data sets (lens 0.5, source 1.0). Subhaloes are taken from one long list that the seed
draws: turning a slider adds them one by one, or moves them, and never shuffles them.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from darklens.lensing import EPL, Mass, PointMasses, SersicEllipse, Shear, TNFWHalos, Vortex
from darklens.lensing.base import Parameter
from darklens.serve.bench.cameras import Camera
from darklens.serve.bench.parameters import Bench
from darklens.simulate import Scene, Subhalos, halos, row_generator
from darklens.simulate.populations.base import stacked
from darklens.simulate.populations.dark_matter import COLD, COSMOLOGY, halo_profiles
from darklens.simulate.priors import PowerLaw

Z_LENS, Z_SOURCE = 0.5, 1.0
HEAVIEST = 1e10
"""Of subhaloes, M_sun."""
POINTS = 25
"""Point masses of the DeepLense data sets."""
DEPTH = 150.0
"""Distance of subhaloes from the middle of their host in kpc, unless they are seen farther out: it sets how stripped they are."""
REACH = 2.0
"""Radius of the disc that subhaloes fill, in units of theta_E."""
MOST = 200
"""Subhaloes at most: more take longer to draw than a slider can wait."""


def scene_of(bench: Bench, camera: Camera) -> Scene:
    """Return the scene on the bench, its source as bright as the camera's zero point makes its magnitude.

    Args:
        bench: the numbers.
        camera: who looks.

    Returns:
        One system, float64; its label is the kind of substructure.
    """
    amp = SersicEllipse.amp_for_flux(camera.flux(bench.source_mag), bench.R_sersic, bench.n_sersic)
    source = (amp, bench.R_sersic, bench.n_sersic, bench.source_e1, bench.source_e2, bench.source_x, bench.source_y)
    shear = Shear(*_columns(bench.gamma1, bench.gamma2))
    alone, fraction = _lens(bench, bench.theta_E), _fraction(bench)
    lens = _lens(bench, bench.theta_E * (1 - fraction) ** (1 / (bench.gamma - 1)))
    return Scene(
        macro=(lens, shear),
        substructure=_substructure(bench),
        source=(SersicEllipse(*_columns(*source)),),
        labels=(bench.substructure,),
        truth={},
        seed=bench.noise_seed,
        rows=(0,),
        z_lens=Z_LENS,
        z_source=Z_SOURCE,
        cosmology=COSMOLOGY,
        macro_alone=(alone, shear),
    )


def _lens(bench: Bench, theta_E: float) -> EPL:
    return EPL(*_columns(theta_E, bench.gamma, bench.e1, bench.e2, 0.0, 0.0))


def _columns(*values: Parameter) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([float(v)], dtype=torch.float64) for v in values)


def _fraction(bench: Bench) -> float:
    """Return the share of the mass within the ring that stands in subhaloes and so is taken out of the smooth lens."""
    return bench.f_sub if bench.substructure in ("subhalos", "points") else 0.0


def einstein_radius(mass: float | np.ndarray) -> float | np.ndarray:
    """Return the Einstein radius in arcsec of a point mass in M_sun."""
    return np.sqrt(mass / (math.pi * halos.sigma_critical(Z_LENS, Z_SOURCE, COSMOLOGY)))


def _substructure(bench: Bench) -> tuple[Mass, ...]:
    mass = 10.0**bench.log10_mass
    if bench.substructure == "subhalos":
        found = _subhalos(bench.f_sub, bench.log10_m_min, bench.theta_E, bench.seed)
        return (stacked(TNFWHalos, [found]),) if len(found["alpha_Rs"]) else ()
    if bench.substructure == "points" and bench.f_sub:
        return (stacked(PointMasses, [_points(bench.f_sub, bench.theta_E, bench.seed)]),)
    if bench.substructure == "vortex":
        values = (float(einstein_radius(mass)), bench.half_length, math.radians(bench.angle), bench.x_sub, bench.y_sub)
        return (Vortex(*_columns(*values)),)
    if bench.substructure == "clump":
        place = np.array([bench.x_sub]), np.array([bench.y_sub])
        return (stacked(TNFWHalos, [_halos(np.array([mass]), *place, np.random.default_rng(0), scatter=0.0)]),)
    return ()


def _halos(mass: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, scatter: float) -> dict[str, np.ndarray]:
    """Return the truncated NFW profiles of subhaloes of these masses in M_sun at these places in arcsec."""
    scale = halos.kpc_per_arcsec(Z_LENS, COSMOLOGY)
    r_trunc = halos.tidal_radius(mass, np.maximum(DEPTH, np.hypot(x, y) * scale)) / scale
    return halo_profiles(mass, r_trunc, x, y, Z_LENS, Z_SOURCE, COLD, scatter, rng)[TNFWHalos]


@functools.lru_cache(maxsize=64)
def _drawn(log10_m_min: float, seed: int) -> tuple[np.ndarray, ...]:
    """Return masses, places in units of the disc's radius, of the list that subhaloes are taken from."""
    rng = row_generator(seed, 0, "laboratory")
    radius, angle = np.sqrt(rng.random(MOST)), 2 * math.pi * rng.random(MOST)
    mass = PowerLaw(-1.9, 10.0**log10_m_min, HEAVIEST).draw(rng, MOST)
    return mass, radius * np.cos(angle), radius * np.sin(angle)


def _subhalos(f_sub: float, log10_m_min: float, theta_E: float, seed: int) -> dict[str, np.ndarray]:
    """Return subhaloes that hold, in the mean over seeds, a share `f_sub` of the mass within the ring; see `Subhalos`."""
    population = _population(log10_m_min)
    count = min(MOST, round(population.expected_number(f_sub, theta_E)))
    mass, x, y = (column[:count] for column in _drawn(log10_m_min, seed))
    return _halos(mass, REACH * theta_E * x, REACH * theta_E * y, row_generator(seed, 0, "concentration"), scatter=0.11)


@functools.lru_cache(maxsize=64)
def _population(log10_m_min: float) -> Subhalos:
    return Subhalos(zero_point=25.0, m_sub=PowerLaw(-1.9, 10.0**log10_m_min, HEAVIEST), r_max=REACH)


def _points(f_sub: float, theta_E: float, seed: int) -> dict[str, np.ndarray]:
    """Return 25 point masses, `dN/dm ~ m^-0.9`, that together are `f_sub` of the mass within the ring, as in `CommonTest`."""
    rng = row_generator(seed, 0, "laboratory points")
    mass = PowerLaw(-0.9, 1e6, HEAVIEST).draw(rng, POINTS)
    radius, angle = REACH * theta_E * np.sqrt(rng.random(POINTS)), 2 * math.pi * rng.random(POINTS)
    theta = theta_E * np.sqrt(f_sub * mass / mass.sum())
    return {"theta_E": theta, "center_x": radius * np.cos(angle), "center_y": radius * np.sin(angle)}
