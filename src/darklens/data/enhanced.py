"""Write a sharpened image as FITS: the header of the coarse one, with its coordinates on the finer pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.files import write_atomic

SCALED = ("CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1", "CDELT2", "PIXSCALE")
"""Cards that a finer pixel divides; with a PC matrix, CDELT alone."""
DROPPED = ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "ZIMAGE", "EXTNAME")


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
    header = finer(header_of(source, hdu), scale)
    if pixel_scale and "CTYPE1" not in header:
        header["PIXSCALE"] = (pixel_scale, "arcsec a pixel")
    if unit and "BUNIT" not in header:
        header["BUNIT"] = (unit.encode("ascii", "replace").decode(), "per pixel")
    for note in notes:
        header.add_history(note.encode("ascii", "replace").decode())
    hdus = [fits.PrimaryHDU(_plane(image), header)]
    if sigma is not None:
        hdus.append(fits.ImageHDU(_plane(sigma), header, name="SIGMA"))
    content = io.BytesIO()
    fits.HDUList(hdus).writeto(content, output_verify="silentfix")
    write_atomic(out, content.getvalue())


def finer(header: Any, scale: int) -> Any:
    """Return a header for pixels `scale` times finer: same sky, the centre of the first pixel stays at (1, 1) less half of one.

    In the pixel coordinates of FITS the edge of the image is at 0.5 on both grids (Greisen & Calabretta 2002, sect. 2.1.4).
    """
    found = header.copy()
    for key in DROPPED:
        found.remove(key, ignore_missing=True)
    for key in SCALED:
        if key in found:
            found[key] = found[key] / scale
    for key in ("CRPIX1", "CRPIX2"):
        if key in found:
            found[key] = scale * (found[key] - 0.5) + 0.5
    return found


def header_of(source: Path, hdu: str | None) -> Any:
    """Return the header of the image that a file was read from; an empty one where it is no FITS file."""
    from astropy.io import fits

    if not source.name.lower().endswith((".fits", ".fits.gz", ".fit", ".fts", ".fits.fz")):
        return fits.Header()
    with fits.open(source, memmap=False) as hdus:
        wanted = (hdu or "").split(",")[0]
        first = next((k for k, found in enumerate(hdus) if found.is_image and found.data is not None), 0)
        chosen = hdus[int(wanted) if wanted.isdigit() else wanted or first]
        header = chosen.header.copy(strip=True)
    for key in list(header):
        if key.startswith(("NAXIS", "PCOUNT", "GCOUNT")):
            header.remove(key, ignore_missing=True)
    return header


def _plane(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[0] if len(image) == 1 else image, dtype=np.float32)
