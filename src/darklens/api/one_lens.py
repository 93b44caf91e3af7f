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
        bands: the band, by name.
        samples: of the posterior, in all chains together; 0 gives the Gaussian approximation.
        seed: of starts and chains.
        force: replace a fit in `out`.
        log: receives sentences.
        progress: called with evaluations done and in all while sampling.
        **choices: fields of `darklens.fit.one_lens.Choices`: model, light, source, theta_E, centre, annulus, starts and others.

    Returns:
        The content of `fit.json`.

    Raises:
        InputError: files or options that cannot be used, each with its remedy.
    """
    from darklens.fit.one_lens import Choices, fit_lens
    from darklens.fit.one_lens.reading import Given, header_of
    from darklens.infer.lens_files import prepare, write_lens
    from darklens.infer.lens_posterior import check_samples, posterior

    began = time.monotonic()
    check_samples(samples)
    chosen = Choices(seed=seed, **choices)
    files = {"noise": noise, "psf": psf, "mask": mask, "exclude": exclude}
    paths = {name: None if file is None else Path(file) for name, file in files.items()}
    camera = {"pixel_scale": pixel_scale, "psf_fwhm": psf_fwhm, "instrument": instrument}
    reading = {"hdu": hdu, "bands": bands, "psf_hdu": psf_hdu, "noise_hdu": noise_hdu}
    settings: dict[str, Any] = {**paths, **camera, **reading}
    given = Given(Path(image), **settings)
    known = given.read()
    prepare(Path(out), force)
    fit = fit_lens(**known, choices=chosen, log=log)
    found = posterior(fit, samples, seed=seed, progress=progress)
    if found.why:
        log(found.why)
    about = {"image": Path(image).name, "pixel_scale": known["pixel_scale"], "seed": seed, "seconds": time.monotonic() - began}
    return write_lens(Path(out), fit, found, known["image"], about, header_of(given.image, hdu, bands))
