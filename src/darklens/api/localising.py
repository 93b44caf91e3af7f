"""Where is the clump: maps, candidates and figures of a search, by likelihood or by a trained network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.errors import InputError

LIKELIHOOD = "likelihood"


def localise(
    method: str | Path,
    path: str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    instrument: str | None = None,
    model: str | None = None,
    fixed: dict[str, float] | None = None,
    pixel_scale: float | None = None,
    psf_fwhm: float | None = None,
    psf: str | Path | None = None,
    exclude: str | Path | None = None,
    light: str | None = None,
    regularisation: str | None = None,
    starts: int | None = None,
    theta_E: float | None = None,
    noise: str | Path | None = None,
    mask: str | Path | None = None,
    clump: str | None = None,
    z_lens: float | None = None,
    z_source: float | None = None,
    false_alarm: float = 0.01,
    simulations: int = 400,
    candidates: int = 3,
    seed: int = 0,
    hdu: int | str | None = None,
    bands: str | None = None,
    limit: int = 12,
    device: str = "auto",
    force: bool = False,
    log: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Look for dark clumps in images of lenses: maps as FITS, `candidates.csv`, figures and `localisation.json` in a folder.

    Args:
        method: "likelihood", or a run of localisation: its folder, or the name of a shipped one.
        path: an image, a folder, a table.
        out: folder.
        preset: the images are like those of this preset, as for `fit`.
        instrument: or sky-subtracted images of this instrument, in e-/s.
        model: of the smooth lens, as for `fit`.
        fixed: parameter -> value for what is known.
        pixel_scale: arcsec, with `psf_fwhm` or `psf`, for an instrument of your own.
        psf_fwhm: arcsec.
        psf: file of a PSF: models one lens in full, its source on pixels, as `fit_lens_path` does; so do the next five.
        exclude: file that is not zero where a pixel does not count.
        light: of the lens galaxy.
        regularisation: of the source.
        starts: of the smooth model.
        theta_E: guess of the Einstein radius, arcsec.
        noise: file with the standard deviation of each pixel.
        mask: file that is not zero where a pixel counts.
        clump: "tnfw" or "point".
        z_lens: redshift of the lens, where no preset says it.
        z_source: redshift of the source, likewise.
        false_alarm: probability with which a clump-free image shows a detection somewhere.
        simulations: images of each lens without clump, for that probability.
        candidates: places to list.
        seed: of the simulations.
        hdu: extension of FITS files.
        bands: the band to use.
        limit: images to look at, at most.
        device: where a network computes.
        force: replace what is in `out`.
        log: receives sentences.
        progress: called with (done, total) places of an image.

    Raises:
        InputError: nothing readable, nothing known about the images, no image whose smooth fit converged, or a run of another task.
    """
    reading = {"hdu": hdu, "bands": bands, "limit": limit, "force": force, "log": log, "progress": progress}
    whole = {"psf": psf, "exclude": exclude, "light": light, "regularisation": regularisation, "starts": starts, "theta_E": theta_E}
    if str(method) != LIKELIHOOD:
        from darklens.runs import Run
        from darklens.train.localiser import Localiser
        from darklens.train.localiser_paths import localise_with

        given = (preset, instrument, model, pixel_scale, psf_fwhm, noise, mask, clump, z_lens, z_source, *whole.values())
        if fixed or any(value is not None for value in given):
            raise InputError("a run knows its instrument and its fits: leave options about them out, or localise by likelihood")
        return localise_with(Localiser(Run.open(method), device), Path(path), Path(out), candidates=candidates, **reading)
    from darklens.infer.substructure import Clump, Settings, localise_lens, localise_path

    settings = Settings(draws=simulations, false_alarm=false_alarm, candidates=candidates, seed=seed)
    if any(value is not None for value in whole.values()):
        from darklens.fit.one_lens import Choices
        from darklens.fit.one_lens.reading import Given

        if preset is not None or fixed:
            raise InputError(
                "a preset and fixed parameters belong to batches of smooth lenses: leave them out to model one lens in full"
            )
        if z_lens is None or z_source is None:
            raise InputError("a real lens does not say at which redshifts it and its source are: give --z-lens and --z-source")
        files = (None if file is None else Path(file) for file in (noise, psf, mask, exclude))
        lens = Given(Path(path), *files, pixel_scale, psf_fwhm, instrument, hdu, bands)
        named = {"model": model, "light": light, "regularisation": regularisation, "starts": starts, "theta_E": theta_E}
        choices = Choices(seed=seed, **{key: value for key, value in named.items() if value is not None})
        kind = Clump(z_lens, z_source, clump or "tnfw")
        return localise_lens(
            lens, Path(out), kind, choices=choices, settings=settings, force=force, log=log, progress=progress
        )  # fmt: skip
    from darklens.fit.request import Request, read_map

    sigma, inside = (None if file is None else read_map(Path(file)) for file in (noise, mask))
    request = Request(preset, instrument, model, fixed or {}, pixel_scale, psf_fwhm, sigma)
    return localise_path(
        Path(path), Path(out), request, settings=settings, clump=clump, z_lens=z_lens, z_source=z_source, mask=inside, **reading
    )
