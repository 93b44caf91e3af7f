"""The clumps of a scene, as a list of places and masses: what a search is judged by."""

from __future__ import annotations

import numpy as np

import darklens.simulate.halos as halos
from darklens.errors import InputError
from darklens.lensing import TNFWHalos
from darklens.simulate.scene import Scene


def clumps_of(scene: Scene) -> list[np.ndarray]:
    """Return the truncated haloes of each system in the plane of its lens, `(N, 3)`: x, y in arcsec, log10 of the mass in M_sun.

    Raises:
        InputError: a system has clumps of another kind, whose mass is not that of a truncated halo.
    """
    found: list[list[np.ndarray]] = [[] for _ in scene.rows]
    critical = halos.sigma_critical(scene.z_lens, scene.z_source, scene.cosmology)
    for profile in scene.substructure:
        strength = next(iter(vars(profile).values())).numpy()
        if not (strength != 0).any():
            continue
        if not isinstance(profile, TNFWHalos):
            raise InputError(f"clumps that are {type(profile).__name__} have no place in a list of haloes: take preset perturber")
        x, y, Rs, r_trunc = (getattr(profile, name).numpy() for name in ("center_x", "center_y", "Rs", "r_trunc"))
        for k, there in enumerate(strength != 0):
            mass = _mass(strength[k, there], Rs[k, there], r_trunc[k, there], critical)
            found[k].append(np.stack([x[k, there], y[k, there], np.log10(mass)], 1))
    return [np.concatenate(parts) if parts else np.zeros((0, 3)) for parts in found]


def _mass(alpha_Rs: np.ndarray, Rs: np.ndarray, r_trunc: np.ndarray, critical: float) -> np.ndarray:
    """Return total masses: `alpha_Rs` is in proportion to the mass."""
    return alpha_Rs / halos.tnfw_alpha_Rs(np.ones_like(Rs), Rs, r_trunc, critical) if len(Rs) else np.zeros(0)
