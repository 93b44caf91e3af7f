"""What a COOLEST template says of the observation: pixel size, field, PSF, zero point, sky.

A Gaussian PSF is given by its full width at half maximum in pixels; a pixelated one is a FITS file beside the template, on
pixels of its own size.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import read
from darklens.errors import InputError
from darklens.files import read_json, write_atomic
from darklens.simulate.instruments import Instrument
from darklens.simulate.psf import PSF, GaussianPSF, TabulatedPSF

PIXEL_SCALE = 0.05
NO_PSF = np.ones((1, 1))


def read_setting(path: str | Path) -> tuple[Instrument, tuple[int, int]]:
    """Read how the lens of a COOLEST template is observed.

    Args:
        path: the `.json` file.

    Returns:
        The instrument, and rows and columns of the field.

    Raises:
        InputError: the template lacks pixel size or field, or its PSF cannot be read.
    """
    path = Path(path)
    content = read_json(path)
    about, observed = content.get("instrument") or {}, content.get("observation") or {}
    grid = observed.get("pixels") or {}
    scale = about.get("pixel_size")
    rows, columns = grid.get("num_pix_y"), grid.get("num_pix_x")
    if not (
        (isinstance(scale, int | float) and 0 < scale < math.inf)
        and (isinstance(rows, int) and rows > 0)
        and (isinstance(columns, int) and columns > 0)
    ):
        raise InputError(f"{path} has pixel size {scale!r} and field {(rows, columns)}: give both as positive numbers")
    exposure = observed.get("exposure_time")
    found = Instrument(
        name=str(about.get("name") or path.stem),
        pixel_scale=float(scale),
        psf=_read_psf(path, about.get("psf") or {}, float(scale)),
        zero_point=observed.get("mag_zero_point"),
        sky_mag_arcsec2=observed.get("mag_sky_brightness"),
        read_noise=float(about.get("readout_noise") or 0),
        exposure_time=float(exposure) if isinstance(exposure, int | float) else 1.0,
        origin=f"COOLEST template {path.name}",
    )
    return found, (rows, columns)


def setting(path: Path, instrument: Instrument | None, shape: tuple[int, int]) -> dict[str, Any]:
    """Return the parts `instrument` and `observation` of a template; write its PSF beside it if that is a table."""
    instrument = instrument or Instrument("", PIXEL_SCALE, TabulatedPSF(NO_PSF))
    scale = instrument.pixel_scale
    return {
        "instrument": {
            "name": instrument.name,
            "band": "",
            "pixel_size": scale,
            "readout_noise": instrument.read_noise,
            "psf": _psf(path, instrument.psf, scale),
        },
        "observation": {
            "pixels": _grid(shape, scale),
            "exposure_time": instrument.total_exposure,
            "mag_zero_point": instrument.zero_point,
            "mag_sky_brightness": instrument.sky_mag_arcsec2,
            "noise": {"type": None},
        },
    }


def _grid(shape: tuple[int, int], scale: float, file: str | None = None) -> dict[str, Any]:
    (rows, columns), half = shape, scale / 2
    return {
        "field_of_view_x": [-columns * half, columns * half],
        "field_of_view_y": [-rows * half, rows * half],
        "num_pix_x": columns,
        "num_pix_y": rows,
        "fits_file": {"path": file},
    }


def _psf(path: Path, psf: PSF, scale: float) -> dict[str, Any]:
    if isinstance(psf, GaussianPSF):
        return {"type": "GaussianPSF", "description": None, "fwhm": psf.fwhm / scale}
    if not isinstance(psf, TabulatedPSF):
        raise InputError(f"COOLEST has no counterpart of {type(psf).__name__}: give a Gaussian or a tabulated PSF")
    if psf.kernel.shape == (1, 1):
        return {"type": None, "description": "none"}
    from astropy.io import fits

    content = io.BytesIO()
    fits.PrimaryHDU(psf.kernel).writeto(content)
    file = path.with_name(f"{path.stem}-psf.fits")
    write_atomic(file, content.getvalue())
    return {"type": "PixelatedPSF", "description": None, "pixels": _grid(psf.kernel.shape, psf.pixel_scale or scale, file.name)}


def _read_psf(path: Path, about: dict[str, Any], scale: float) -> PSF:
    kind = about.get("type")
    if kind is None:
        return TabulatedPSF(NO_PSF)
    if kind == "GaussianPSF":
        fwhm = about.get("fwhm")
        if not isinstance(fwhm, int | float) or not 0 < fwhm < math.inf:
            raise InputError(f"{path} has a Gaussian PSF of FWHM {fwhm!r} pixels: give a positive number")
        return GaussianPSF(float(fwhm) * scale)
    if kind != "PixelatedPSF":
        raise InputError(f"{path} has a PSF of type {kind!r}: GaussianPSF and PixelatedPSF are read")
    grid = about.get("pixels") or {}
    name = (grid.get("fits_file") or {}).get("path")
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{path} has its PSF in {name!r}: give the name of a FITS file beside the template")
    kernel = next(read(path.parent / name)).image[0]
    low, high = grid.get("field_of_view_x") or (0, 0)
    width = abs(high - low) or scale * kernel.shape[1]
    return TabulatedPSF(kernel, pixel_scale=width / kernel.shape[1], origin=name)
