"""One lens, modelled in full: from files to a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darklens.fit.one_lens import Choices, Positions


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
        positions: file of multiple images of one point of the source, or of several points, in arcsec from the middle of the image:
            JSON `[[x, y], ...]`, or CSV with the columns x, y (and source). They lead the search.
        position_sigma: their astrometric error, arcsec; None takes 0.05.
        position_order: "xy", or "yx" as PyAutoLens writes JSON; None takes xy, and refuses what only the other order puts on arcs.
        position_tolerance: arcsec in the source plane, within which a start has to bring them together; None takes a fifth of the
            Einstein radius.
        position_likelihood: they are data besides the pixels, in the final cost, the errors and the samples.
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
    from darklens.errors import InputError
    from darklens.fit.one_lens import Choices, fit_lens
    from darklens.fit.one_lens.reading import Given, header_of
    from darklens.infer.lens_files import prepare, write_lens
    from darklens.infer.lens_posterior import check_samples, posterior

    began = time.monotonic()
    check_samples(samples)
    chosen = Choices(seed=seed, **choices)
    about_them = {"sigma": position_sigma, "tolerance": position_tolerance, "in_likelihood": position_likelihood or None}
    about_them = {name: value for name, value in about_them.items() if value is not None}
    if positions is None and (about_them or position_order):
        raise InputError(
            "--position-sigma, -tolerance, -order and -likelihood are about --positions: give that file, or leave them out"
        )
    files = {"noise": noise, "psf": psf, "mask": mask, "exclude": exclude}
    paths = {name: None if file is None else Path(file) for name, file in files.items()}
    camera = {"pixel_scale": pixel_scale, "psf_fwhm": psf_fwhm, "instrument": instrument}
    reading = {"hdu": hdu, "bands": bands, "psf_hdu": psf_hdu, "noise_hdu": noise_hdu}
    settings: dict[str, Any] = {**paths, **camera, **reading}
    given = Given(Path(image), **settings)
    known = given.read()
    images = None if positions is None else _positions(Path(positions), position_order, known, chosen, about_them)
    prepare(Path(out), force)
    fit = fit_lens(**known, positions=images, choices=chosen, log=log)
    found = posterior(fit, samples, seed=seed, progress=progress)
    if found.why:
        log(found.why)
    about = {"image": Path(image).name, "pixel_scale": known["pixel_scale"], "seed": seed, "seconds": time.monotonic() - began}
    return write_lens(Path(out), fit, found, known["image"], about, header_of(given.image, hdu, bands))


def _positions(path: Path, order: str | None, known: dict[str, Any], chosen: Choices, about_them: dict[str, Any]) -> Positions:
    """Read positions, and look whether JSON that does not say its order has them on the arcs."""
    from darklens.fit.one_lens import Observation
    from darklens.fit.one_lens.position_file import check_order, read_positions

    found = read_positions(path, order, **about_them)
    if order is None and path.suffix.lower() != ".csv":
        observation = Observation(*(known[name] for name in ("image", "noise", "psf", "pixel_scale", "mask")))
        check_order(found, observation, chosen.centre or (0.0, 0.0))
    return found
