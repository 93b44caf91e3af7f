"""One lens, modelled in full: from files to a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fit_lens_path(
    image: str | Path,
    out: str | Path,
    *,
    noise: str | Path | None = None,
    psf: str | Path | None = None,
    mask: str | Path | None = None,
    exclude: str | Path | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    instrument: str | None = None,
    hdu: int | str | None = None,
    noise_hdu: int | str | None = None,
    psf_hdu: int | str | None = None,
    bands: str | None = None,
    positions: str | Path | None = None,
    position_sigma: float | None = None,
    position_order: str | None = None,
    position_tolerance: float | None = None,
    position_likelihood: bool = False,
    point_images: str | int | list[list[float]] | None = None,
    psf_oversampling: int | None = None,
    samples: int = 0,
    seed: int = 0,
    force: bool = False,
    log: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **choices: Any,
) -> dict[str, Any]:
    """Model one lens into a folder: `fit.json`, `fit.fits`, `coolest.json`, figures, and samples where they are asked for.

    Args:
        image: file.
        out: folder.
        noise: file with the standard deviation of each pixel.
        psf: file, odd sides.
        mask: file, non-zero where a pixel counts.
        exclude: file, non-zero where a pixel does not count.
        pixel_scale: arcsec.
        psf_fwhm: of a Gaussian PSF, arcsec.
        instrument: whose PSF and noise are taken where none are given; the image is then in e-/s.
        hdu: extension of the image.
        noise_hdu: of the noise map.
        psf_hdu: of the PSF.
        bands: the band.
        positions: file of images of points of the source that lead the search, see `read_positions`, arcsec from the middle.
        position_sigma: their astrometric error, arcsec; None takes 0.05.
        position_order: "xy", or "yx" as PyAutoLens writes JSON; None takes xy, and refuses what only the other order puts on arcs.
        position_tolerance: arcsec in the source plane that a start may leave between them; None takes a fifth of theta_E.
        position_likelihood: they are data besides the pixels, in the final cost, the errors and the samples.
        point_images: images of a quasar: `[[x, y], ...]` or "x,y;x,y;..." in arcsec from the middle, how many there are, or "auto".
        psf_oversampling: pixels of the PSF along a side of the image's; None takes the header's word, or 1.
        samples: of the posterior, in all chains together; 0 gives the Gaussian approximation.
        seed: of starts and chains.
        force: replace a fit in `out`.
        log: receives sentences.
        progress: called with evaluations done and in all while sampling.
        **choices: fields of `darklens.fit.one_lens.Choices`: model, light, source, theta_E, centre, annulus, starts, point_sigma,
            psf_error and others.

    Returns:
        The content of `fit.json`.

    Raises:
        InputError: files or options that cannot be used, each with its remedy.
    """
    from darklens.fit.one_lens import Choices, fit_lens
    from darklens.fit.one_lens.point_search import read_points
    from darklens.fit.one_lens.position_file import positions_on
    from darklens.fit.one_lens.reading import Given, header_of
    from darklens.infer.lens_files import prepare, write_lens
    from darklens.infer.lens_posterior import check_samples, posterior

    began = time.monotonic()
    check_samples(samples)
    chosen = Choices(seed=seed, point_images=read_points(point_images), **choices)
    settings = _paths(noise=noise, psf=psf, mask=mask, exclude=exclude) | {"fine": point_images is not None}
    settings |= {"hdu": hdu, "bands": bands, "psf_hdu": psf_hdu, "noise_hdu": noise_hdu, "pixel_scale": pixel_scale}
    settings |= {"psf_fwhm": psf_fwhm, "instrument": instrument, "psf_oversampling": psf_oversampling}
    known = (given := Given(Path(image), **settings)).read()
    stated = {"sigma": position_sigma, "tolerance": position_tolerance, "in_likelihood": position_likelihood or None}
    images = positions_on(positions, position_order, stated, known, chosen.centre)
    prepare(Path(out), force)
    fit = fit_lens(**known, positions=images, choices=chosen, log=log)
    found = posterior(fit, samples, seed=seed, progress=progress)
    if found.why:
        log(found.why)
    about = {"image": Path(image).name, "pixel_scale": known["pixel_scale"], "seed": seed, "seconds": time.monotonic() - began}
    return write_lens(Path(out), fit, found, known["image"], about, header_of(given.image, hdu, bands))


def _paths(**files: str | Path | None) -> dict[str, Any]:
    return {name: None if file is None else Path(file) for name, file in files.items()}
