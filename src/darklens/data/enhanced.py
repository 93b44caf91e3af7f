"""Write a sharpened image as FITS: the header of the coarse one, with its coordinates on the finer pixels."""

from __future__ import annotations

import gzip
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.fits import read_fits
from darklens.data.formats import format_of
from darklens.errors import InputError
from darklens.files import write_atomic

DROPPED = (
    *("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "ZIMAGE", "ZHECKSUM", "ZDATASUM"),
    *(
        "EXTNAME",
        "EXTVER",
        "EXTLEVEL",
        "EXTEND",
        "INHERIT",
        "DATAMIN",
        "DATAMAX",
        "DATASEC",
        "TRIMSEC",
        "BIASSEC",
        "CCDSEC",
        "DETSEC",
    ),
)
"""Cards about the file or the array that the header came from."""
# Cards of coordinates, with the letter of an alternative description at the end (Greisen & Calabretta 2002, table 2)
_TYPE = re.compile(r"CTYPE[12][A-Z]?")
_LOOKUP = re.compile(r"(CPDIS|CPERR|CQDIS|CQERR|DP|DQ|D2IMDIS|D2IMERR|D2IM)\d.*|AXISCORR")
_THIRD = re.compile(
    r"(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CNAME|CROTA|CRDER|CSYER)[3-9][A-Z]?|(CD|PC)(\d_[3-9]|[3-9]_\d)[A-Z]?|PV[3-9]_\d+[A-Z]?"
)
_COORDINATES = re.compile(
    r"(WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE|LATPOLE)[A-Z]?|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CROTA)\d[A-Z]?|(CD|PC|PV|PS)\d_\d+[A-Z]?"
    r"|[AB]P?_(ORDER|DMAX|\d+_\d+)|LTV\d|LTM\d_\d|WAT\d_\d+"
)
_RULES: tuple[tuple[re.Pattern[str], Callable[[float, float, re.Match[str]], float]], ...] = (
    (re.compile(r"CD[12]_[12][A-Z]?|CDELT[12][A-Z]?|PIXSCALE|PIXSCAL[12]|D001SCAL"), lambda value, scale, _: value / scale),
    (re.compile(r"PIXAR_A2|PIXAR_SR"), lambda value, scale, _: value / scale**2),
    (re.compile(r"LTM[12]_[12]|[AB]P?_DMAX"), lambda value, scale, _: value * scale),
    (re.compile(r"CRPIX[12][A-Z]?|LTV[12]"), lambda value, scale, _: scale * (value - 0.5) + 0.5),
    (re.compile(r"[AB]P?_(\d)_(\d)"), lambda value, scale, order: value * scale ** (1 - int(order[1]) - int(order[2]))),
)
"""How the value of a card changes with finer pixels."""


def write_enhanced(
    out: Path,
    image: np.ndarray,
    sigma: np.ndarray | None,
    *,
    source: Path,
    scale: int,
    hdu: str | None = None,
    pixel_scale: float | None = None,
    unit: str | None = None,
    notes: tuple[str, ...] = (),
    force: bool = False,
) -> None:
    """Write an image, and its sigma in an extension of that name.

    Args:
        out: FITS file.
        image: `(bands, H, W)`.
        sigma: likewise, or None.
        source: what the image was made from; a FITS file gives its header.
        scale: fine pixels along the side of a coarse one.
        hdu: extension of the source, by name or number.
        pixel_scale: arcsec a fine pixel, for a source without coordinates.
        unit: of the pixels, likewise.
        notes: lines of HISTORY.
        force: replace a file.

    Raises:
        InputError: `out` exists, or is not called like a FITS file.
    """
    from astropy.io import fits

    if not out.name.lower().endswith((".fits", ".fits.gz", ".fit")):
        raise InputError(f"{out} is not called like a FITS file: give a name that ends in .fits")
    if out.exists() and not force:
        raise InputError(f"{out} exists: choose another --out or give --force")
    plane = _plane(image)
    header = finer(header_of(source, hdu), scale, plane.ndim)
    if pixel_scale and "CTYPE1" not in header:
        header["PIXSCALE"] = (pixel_scale, "arcsec a pixel")
    if unit and "BUNIT" not in header:
        header["BUNIT"] = (unit.encode("ascii", "replace").decode(), "per pixel")
    for note in notes:
        header.add_history(note.encode("ascii", "replace").decode())
    hdus = [fits.PrimaryHDU(plane, header)]
    if sigma is not None:
        hdus.append(fits.ImageHDU(_plane(sigma), header, name="SIGMA"))
    content = io.BytesIO()
    fits.HDUList(hdus).writeto(content, output_verify="silentfix")
    packed = out.name.lower().endswith(".gz")
    write_atomic(out, gzip.compress(content.getvalue(), mtime=0) if packed else content.getvalue())


def finer(header: Any, scale: int, axes: int = 2) -> Any:
    """Return a header for pixels `scale` times finer: same sky, the edge of the image stays at 0.5.

    In the pixel coordinates of FITS the edge of the image is at 0.5 on both grids (Greisen & Calabretta 2002, sect. 2.1.4). A
    polynomial of distortion (SIP; Shupe et al. 2005) is one of offsets in pixels, so its coefficients of order `p + q` change by
    `scale ** (1 - p - q)`. Distortion by lookup tables is left out, since the tables stay behind in the coarse file.

    Args:
        header: of the coarse image.
        scale: fine pixels along the side of a coarse one.
        axes: of the fine image; cards of more axes are left out.
    """
    found = header.copy()
    lookup = [key for key in dict.fromkeys(found) if _LOOKUP.fullmatch(key)]
    for key in (*DROPPED, *lookup, *(key for key in dict.fromkeys(header) if axes == 2 and _THIRD.fullmatch(key))):
        found.remove(key, ignore_missing=True, remove_all=True)
    for key in dict.fromkeys(found):
        for pattern, change in _RULES:
            if (order := pattern.fullmatch(key)) and (value := _number(found[key])) is not None:
                found[key] = change(value, float(scale), order)
    for key in [key for key in dict.fromkeys(found) if _TYPE.fullmatch(key)]:
        step, matrix = key.replace("CTYPE", "CDELT"), [f"CD{key[5]}_{j}{key[6:]}" for j in (1, 2)]
        if step not in found and not any(card in found for card in matrix):
            found[step] = 1 / scale  # it is 1 where nothing is said
    if axes == 2 and found.get("WCSAXES", 2) != 2:
        found["WCSAXES"] = 2
    if lookup:
        found.add_history("the distortion of the coarse image by lookup tables is left out")
    return found


def _number(value: Any) -> float | None:
    """Return a card's value as a number, also where it was written as text; None if it is none."""
    try:
        found = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return found if found is not None and math.isfinite(found) else None


def header_of(source: Path, hdu: str | None) -> Any:
    """Return the header of the image that a file was read from; an empty one where it is no FITS file.

    An extension inherits what it does not say itself from the file's first header: telescope, filter, date.
    """
    from astropy.io import fits

    if source.is_dir() or format_of(source, look_inside=True).read is not read_fits:
        return fits.Header()
    with fits.open(source, memmap=False) as hdus:
        wanted = (hdu or "").split(",")[0]
        first = next((k for k, found in enumerate(hdus) if found.is_image and found.data is not None), 0)
        chosen = hdus[int(wanted) if wanted.isdigit() else wanted or first]
        header = chosen.header.copy(strip=True)
        for card in hdus[0].header.copy(strip=True).cards:
            if card.keyword not in (*header, "COMMENT", "HISTORY", "") and not _COORDINATES.fullmatch(card.keyword):
                header.append(card)
    for key in list(header):
        if key.startswith(("NAXIS", "PCOUNT", "GCOUNT")):
            header.remove(key, ignore_missing=True)
    return header


def _plane(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[0] if len(image) == 1 else image, dtype=np.float32)
