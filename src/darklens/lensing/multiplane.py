"""Several lens planes: light is bent at each, and what it meets next depends on it.

The recursive lens equation (Schneider, Ehlers & Falco 1992, ch. 9; McCully et al. 2014, MNRAS 443, 3631): at plane j
`theta_j = theta - sum_{i<j} w_ij alpha_i(theta_i)` with `w_ij = D_ij D_s / (D_j D_is)`. Deflections are reduced for the source, so
that the weight of every plane there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from darklens.errors import InputError
from darklens.lensing.base import Mass
from darklens.lensing.cosmology import Cosmology


def trace_planes(
    planes: Sequence[tuple[float, Sequence[Mass]]], z_source: float, cosmology: Cosmology, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Follow light back through several planes: return the source position `(beta_x, beta_y)`, arcsec.

    Args:
        planes: redshift and masses of each plane, nearest first; deflections are reduced for the source.
        z_source: redshift of the source.
        cosmology: distances.
        x: image positions, arcsec.
        y: image positions, arcsec.

    Raises:
        InputError: the planes are not in order before the source.
    """
    redshifts = [z for z, _ in planes]
    if redshifts != sorted(redshifts) or any(not 0 < z < z_source for z in redshifts):
        raise InputError(
            f"planes at redshifts {redshifts}, source at {z_source}: they must rise from above 0 to below the source; sort them"
        )
    deflections: list[tuple[Tensor, Tensor]] = []
    for j, z in enumerate([*redshifts, z_source]):
        at_x, at_y = x, y
        for nearer, (alpha_x, alpha_y) in zip(redshifts[:j], deflections, strict=True):
            weight = _weight(nearer, z, z_source, cosmology)
            at_x, at_y = at_x - weight * alpha_x, at_y - weight * alpha_y
        if j == len(planes):
            break
        bent = [mass.deflection(at_x, at_y) for mass in planes[j][1]]
        deflections.append((sum(a for a, _ in bent), sum(a for _, a in bent)))  # type: ignore[arg-type]
    return at_x, at_y


def _weight(nearer: float, z: float, z_source: float, cosmology: Cosmology) -> float:
    """Return the share of a reduced deflection at one plane that has acted at a farther one."""
    if nearer == z:
        return 0.0
    between, source = cosmology.distance(z, nearer), cosmology.distance(z_source, nearer)
    return between * cosmology.distance(z_source) / (cosmology.distance(z) * source)
