"""Units and conventions, stated once.

Angles are in arcsec with +x right and +y up; images are `(band, y, x)` with the row index growing with +y; a pixel value is
the flux of the pixel's area. Deflections are reduced. Ellipticity is `e = (1-q)/(1+q)`, `e1 = e cos 2phi`,
`e2 = e sin 2phi` with phi counter-clockwise from +x. Masses are in solar masses.
"""

from __future__ import annotations

import re

FWHM_PER_SIGMA = 2.3548200450309493
"""Full width at half maximum of a Gaussian of unit standard deviation, `2 sqrt(2 ln 2)`."""

UNITS: dict[str, str] = {
    "theta_E": "arcsec",
    "center_x": "arcsec",
    "center_y": "arcsec",
    "e1": "",
    "e2": "",
    "gamma": "",
    "gamma1": "",
    "gamma2": "",
    "source_x": "arcsec",
    "source_y": "arcsec",
    "source_e1": "",
    "source_e2": "",
    "R_sersic": "arcsec",
    "n_sersic": "",
    "source_amp": "flux/arcsec2",
    "source_mag": "mag",
    "lens_mag": "mag",
    "lens_R_sersic": "arcsec",
    "lens_n_sersic": "",
    "z_lens": "",
    "z_source": "",
    "n_sub": "",
    "m_sub": "M_sun",
    "f_sub": "",
    "slope_sub": "",
    "x_sub": "arcsec",
    "y_sub": "arcsec",
    "log10_m_hm": "M_sun",
    "cross_section": "cm2/g",
    "n_los": "",
    "m_los": "M_sun",
    "log10_m_axion": "eV",
    "m_axion": "eV",
    "vortex_theta_v": "arcsec",
    "vortex_half_length": "arcsec",
    "vortex_angle": "rad",
    "vortex_x": "arcsec",
    "vortex_y": "arcsec",
    "ra": "deg",
    "dec": "deg",
    "coverage": "",
    "exposure": "s",
    "snr": "",
    "seeing": "arcsec",
    "kind": "",
    "n_cosmic_rays": "",
    "n_cosmic_ray_pixels": "",
}
"""Unit of every truth column that a darklens population writes; the empty string is dimensionless."""

_ELECTRON_RATE = re.compile(r"(e-?|electrons?)(/|[.*]|per)?s(ec|econd)?s?((\^|\*\*)?\(?-1\)?)?")
_UNSAID = ("", "unknown", "none", "n/a", "arbitrary", "arb")


def same_unit(one: str | None, other: str | None) -> bool:
    """Say whether two units of a pixel are the same, or one of them is not told.

    Args:
        one: as written in a header or a manifest: `e-/s`, `ELECTRONS/S`, `electron s-1`, `MJy/sr`, ...
        other: likewise.
    """
    keys = ["".join((unit or "").lower().split()) for unit in (one, other)]
    first, second = ("e-/s" if _ELECTRON_RATE.fullmatch(key) else key for key in keys)
    return first == second or first in _UNSAID or second in _UNSAID
