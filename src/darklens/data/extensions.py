"""Bands in the extensions of one FITS file, told from their names, with the PSF and the noise of each.

`DES_G_BGSUB`, `DES_G_PSF`, `DES_G_RMS`, `VIS_BGSUB`, ... (Euclid Q1 strong-lens cutouts): image, PSF and noise map of bands DES_G
and VIS. An extension that is called by its band alone, `g`, is an image. A band may be asked for by its whole name or, where no
other ends the same, by its last part: `Y` for `NIR_Y`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darklens.data.bands import short_band
from darklens.data.record import Record
from darklens.errors import InputError

ROLES = {
    **dict.fromkeys(("BGSUB", "SCI", "SCIENCE", "IMAGE", "IMG", "DATA"), "image"),
    "PSF": "psf",
    **dict.fromkeys(("RMS", "ERR", "ERROR", "NOISE"), "rms"),
}
"""Last part of an extension's name -> what it holds; noise maps are standard deviations."""
COMPANIONS = ("psf", "rms")
_NAME = re.compile(rf"(?P<band>.+)[_-](?P<role>{'|'.join(ROLES)})", re.IGNORECASE)


def band_extensions(names: Sequence[str], images: Sequence[int]) -> dict[str, dict[str, int]]:
    """Tell bands from the names of a file's extensions.

    Args:
        names: of all extensions.
        images: numbers of those that hold an image.

    Returns:
        Whole name of each band that has an image -> `image`, `psf`, `rms` -> number of the extension, in the order of the file.
    """
    bands: dict[str, dict[str, int]] = {}
    for i in images:
        found = _NAME.fullmatch(names[i])
        band, role = (found["band"], ROLES[found["role"].upper()]) if found else (names[i], "image")
        if short_band(band):
            bands.setdefault(band, {}).setdefault(role, i)
    return {band: roles for band, roles in bands.items() if "image" in roles}


def short_names(bands: Sequence[str]) -> dict[str, str]:
    """Return whole name -> short name, which is the whole one where two bands would share it."""
    short = {band: short_band(band) or band for band in bands}
    return {band: name if list(short.values()).count(name) == 1 else band for band, name in short.items()}


def chosen_bands(bands: Sequence[str], wanted: Sequence[str] | None, path: Path) -> list[str]:
    """Return the whole names of the bands that are asked for, in that order; all of them by default.

    Raises:
        InputError: there is no such band.
    """
    if wanted is None:
        return list(bands)
    known = short_names(bands)
    lookup = {name.lower(): band for band, name in known.items()} | {band.lower(): band for band in bands}
    lookup |= {name: band for band, name in known.items()} | {band: band for band in bands}
    for name in wanted:
        if name not in lookup and name.lower() not in lookup:
            raise InputError(f"{path} has no band {name!r}: choose by --bands among {','.join(known.values())}")
    return [lookup.get(name) or lookup[name.lower()] for name in wanted]


def companion(record: Record, what: str) -> list[np.ndarray]:
    """Read the PSF or the noise map that lies beside an image in its file.

    Args:
        record: an image as `read` gave it.
        what: `psf` or `rms`.

    Returns:
        One array `(y, x)` a band, float64, in the order of the record's bands.

    Raises:
        InputError: the file holds none for one of the bands, or can no longer be read.
    """
    from astropy.io import fits

    known = record.metadata.get(what)
    if what not in COMPANIONS or not known or None in known:
        raise InputError(f"{record.source or record.id} holds no {what} for each of its bands: give one of {', '.join(COMPANIONS)}")
    try:
        with fits.open(record.source, memmap=False) as hdus:
            return [np.asarray(hdus[i].data, dtype=np.float64) for i in known]
    except (OSError, IndexError, TypeError) as error:
        raise InputError(f"{record.source} can no longer be read as it was: restore it") from error
