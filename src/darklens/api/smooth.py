"""Smooth lenses: fitted, and the instrument measured on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.api.images import load

if TYPE_CHECKING:
    from darklens.fit import SmoothFit
    from darklens.simulate import Instrument


def fit(
    images: Any,
    instrument: str | Instrument | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    noise: Any = None,
    mask: Any = None,
    progress: Callable[[int], None] = lambda done: None,
) -> SmoothFit:
    """Fit smooth lenses to images, in a batch.

    Args:
        images: `(n, H, W)`, `(n, 1, H, W)` or one image; a table; or a path.
        instrument: they are sky-subtracted images of this instrument, in e-/s.
        model: "sis+shear+sersic", "sie+shear+sersic" or "epl+shear+sersic", with "+lens_light" where the lens shines.
        preset: they are like those of this preset, instead of `instrument`. Simulated tables, and min-max scaled counts of 150x150
            pixels, need neither.
        fixed: parameter -> value for what is known.
        pixel_scale: arcsec, with `psf_fwhm`, instead of `instrument`; the noise then comes from the corners of the image.
        psf_fwhm: arcsec.
        noise: standard deviation of each pixel, `(H, W)` or `(n, H, W)`.
        mask: the same, true where a pixel counts.
        progress: called with the number of images done.

    Returns:
        Parameters with covariance, model, residual in units of the noise, reduced chi^2, whether it converged.

    Raises:
        InputError: nothing readable, several bands, or nothing known about the images.
    """
    import numpy as np

    from darklens.data import Table
    from darklens.fit.request import Request

    if isinstance(images, str | Path):
        images = load(images)
    manifest = images.manifest if isinstance(images, Table) else None
    array = images.image_array() if isinstance(images, Table) else np.asarray(images)
    array = array[None] if array.ndim == 2 else array
    request = Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm, None if noise is None else np.asarray(noise))
    return request.plan(array[:5], manifest).fit(array, mask=None if mask is None else np.asarray(mask), progress=progress)


def fit_path(
    path: str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    instrument: str | None = None,
    model: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    **options: Any,
) -> dict:
    """Fit everything at a path into a folder: a table of residuals, `parameters.csv`, `gallery.png`; arguments as for `fit`.

    Raises:
        InputError: nothing readable, or nothing known about the images.
    """
    from darklens.fit.request import Request
    from darklens.fit.request import fit_path as write

    return write(Path(path), Path(out), Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm), **options)


def calibrate(
    path: str | Path,
    *,
    preset: str | None = None,
    instrument: str | None = None,
    model: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    **options: Any,
) -> dict:
    """Measure PSF width and noise on images of smooth lenses; arguments as for `fit`, the PSF being a first guess.

    Raises:
        InputError: no image of a smooth lens, or nothing known about the images.
    """
    from darklens.fit.request import Request, calibrate_path

    return calibrate_path(Path(path), Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm), **options)
