"""Maps of what was found in an image, as FITS with the image's own coordinates where it has any."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.enhanced import header_of
from darklens.errors import InputError
from darklens.files import write_atomic

SUMMARY, CANDIDATES = "localisation.json", "candidates.csv"
"""What lies beside the maps in the folder of a localisation."""


def prepare(out: Path, force: bool) -> None:
    """Look whether a localisation may go to a folder: its maps are named after the images, and must not replace them.

    Raises:
        InputError: the folder holds a localisation that shall not be replaced, or something else.
    """
    if (out / SUMMARY).exists():
        if not force:
            raise InputError(f"{out} holds a localisation already: choose another --out or give --force")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something other than a localisation: choose another folder with --out")


def write_candidates(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Write the candidates of images, each with `id` and `candidates`, best first, as one CSV table."""
    rows = [{"id": one["id"], "rank": k + 1, **c} for one in found for k, c in enumerate(one["candidates"])]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in rows for name in row)) or ["id", "rank"])
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue())


def write_sky_maps(
    out: Path,
    maps: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    *,
    source: Path | None = None,
    hdu: int | str | None = None,
    pixel_scale: float | None = None,
) -> Any:
    """Write maps, one extension each, and return the header that says where on the sky they are.

    Args:
        out: FITS file.
        maps: name -> `(H, W)`, the size of the image.
        units: name -> unit of the pixels.
        source: the image's file; a FITS file gives its coordinates.
        hdu: its extension.
        pixel_scale: arcsec a pixel, for a source without coordinates.
    """
    from astropy.io import fits

    header = coordinates_of(source, hdu)
    if pixel_scale and "CTYPE1" not in header:
        header["PIXSCALE"] = (pixel_scale, "arcsec a pixel")
    hdus = [fits.PrimaryHDU()]
    for name, pixels in maps.items():
        extension = fits.ImageHDU(np.ascontiguousarray(pixels, np.float32), header, name=name.upper())
        if units.get(name):
            extension.header["BUNIT"] = units[name]
        hdus.append(extension)
    content = io.BytesIO()
    fits.HDUList(hdus).writeto(content, output_verify="silentfix")
    write_atomic(out, content.getvalue())
    return header


def coordinates_of(source: Path | None, hdu: int | str | None) -> Any:
    """Return the cards of a file that say where its pixels are on the sky; an empty header where it says nothing."""
    from astropy.io import fits
    from astropy.wcs import WCS

    whole = fits.Header() if source is None else header_of(source, None if hdu is None else str(hdu))
    return WCS(whole).celestial.to_header() if "CTYPE1" in whole else fits.Header()


def sky_position(header: Any, x: float, y: float, pixel_scale: float, shape: tuple[int, int]) -> dict[str, float]:
    """Return right ascension and declination in degrees of a place in arcsec from the field's centre; empty where unknown."""
    if "CTYPE1" not in header:
        return {}
    from astropy.wcs import WCS

    column, row = x / pixel_scale + 0.5 * (shape[1] - 1), y / pixel_scale + 0.5 * (shape[0] - 1)
    ra, dec = WCS(header).pixel_to_world_values(column, row)
    return {"ra": float(ra), "dec": float(dec)}
