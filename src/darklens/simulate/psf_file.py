"""Read an empirical point spread function from a file, and say what had to be done to it."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from darklens.data import Record, read
from darklens.errors import InputError
from darklens.files import sha256_of
from darklens.simulate.psf import TabulatedPSF

SUM_TOLERANCE = 1e-3
"""A sum further from one than this is said when it is put right."""

LARGEST = 1025
"""Pixels of a side; the whole image is rendered wider by half of this on every side."""

OFF_CENTRE = 0.05
"""Largest distance of the light's centroid from the middle, in units of the shorter side; a pixel is allowed to every kernel."""

_log = logging.getLogger("darklens")


def read_psf(path: Path, *, hdu: int | str | None = None, pixel_scale: float | None = None) -> TabulatedPSF:
    """Read a PSF from a FITS or `.npy` file.

    A sum other than one is divided out, and a kernel with an even side whose light is centred on a pixel, as Fourier transforms
    want it, gets a row or column of zeros; both are logged in one sentence each.

    Args:
        path: the file.
        hdu: extension of a FITS file, by number or name.
        pixel_scale: arcsec per pixel of the file; None takes the header's word, or where it has none the instrument's scale.

    Returns:
        The PSF; its `origin` holds the file's name, its extension and its SHA-256.

    Raises:
        InputError: no file, no image, several images, pixels that are not finite, a sum that is not positive, light that is not
            about the middle, or an even side with the light's centre between pixels.
    """
    records = list(read(path, hdu=hdu, fill="refuse"))
    if len(records) != 1 or records[0].image.shape[0] != 1:
        planes = sum(r.image.shape[0] for r in records)
        raise InputError(f"{path} holds {planes} planes: a PSF is one; choose it by its extension, or save one plane alone")
    record = records[0]
    kernel = record.image[0].astype(np.float64)
    if max(kernel.shape) > LARGEST:
        raise InputError(f"PSF in {path} has {kernel.shape[0]}x{kernel.shape[1]} pixels, the limit is {LARGEST}: crop it")
    total = kernel.sum()
    if total <= 0:
        raise InputError(f"PSF in {path} has sum {total:.4g}: it must be positive; repair the file")
    if abs(total - 1) > SUM_TOLERANCE:
        _log.warning("PSF in %s has sum %.4g and was divided by it", path.name, total)
    _check_centred(kernel, path)
    scale = pixel_scale if pixel_scale is not None else record.metadata.get("pixel_scale")
    return TabulatedPSF(_odd(kernel, path), scale, _origin(path, record))


def _check_centred(kernel: np.ndarray, path: Path) -> None:
    """Refuse a kernel that would move all it blurs."""
    light = np.clip(kernel, 0, None)
    off = [float((np.arange(n) * light.sum(1 - axis)).sum() / light.sum() - 0.5 * (n - 1)) for axis, n in enumerate(kernel.shape)]
    limit = max(1.0, OFF_CENTRE * min(kernel.shape))
    if math.hypot(*off) > limit:
        raise InputError(
            f"PSF in {path} has its light {math.hypot(*off):.1f} pixels off its middle (limit {limit:.1f}), and would move all it "
            "blurs: cut it about its centre"
        )


def _origin(path: Path, record: Record) -> str:
    extension = f"[{record.metadata['hdu']}]" if "hdu" in record.metadata else ""
    return f"{path.name}{extension} sha256:{sha256_of(path)}"


def _odd(kernel: np.ndarray, path: Path) -> np.ndarray:
    """Give an even side the row or column of zeros that puts its centre of light into the middle."""
    even = [axis for axis in (0, 1) if kernel.shape[axis] % 2 == 0]
    if not even:
        return kernel
    before = kernel.shape
    for axis in even:
        n, profile = kernel.shape[axis], kernel.sum(1 - axis)
        peak = int(profile.argmax())
        if peak not in (n // 2 - 1, n // 2) or abs(_vertex(profile, peak)) > 0.25:
            raise InputError(
                f"PSF in {path} has {before[0]}x{before[1]} pixels and its centre of light between them: "
                "both sides must be odd; resample it with the centre on the middle pixel"
            )
        # light in pixel n/2 is in the middle of n + 1 pixels; in n/2 - 1 it needs one more before it
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1) if peak == n // 2 else (1, 0)
        kernel = np.pad(kernel, pad)
    _log.warning(
        "PSF in %s has even sides (%dx%d) and was padded with zeros to %dx%d around its brightest pixel",
        path.name, *before, *kernel.shape,
    )  # fmt: skip
    return kernel


def _vertex(profile: np.ndarray, peak: int) -> float:
    """Return where between the pixels the maximum lies, from the parabola through the brightest and its neighbours."""
    left, middle, right = np.pad(profile, 1)[peak : peak + 3]
    return 0.5 * (left - right) / (left - 2 * middle + right)
