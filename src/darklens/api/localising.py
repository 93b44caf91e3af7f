"""Where is the clump: maps, candidates and figures of a search, by likelihood or by a trained network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.infer.substructure import Settings

LIKELIHOOD = "likelihood"
CHOICES = ("light", "source", "regularisation", "adaptive", "nodes", "starts", "theta_E", "centre", "annulus")
"""How one lens is modelled, besides by which masses."""


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
    positions: str | Path | None = None,
    position_order: str | None = None,
    noise_hdu: int | str | None = None,
    psf_hdu: int | str | None = None,
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
    **choices: Any,
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
        psf: file of a PSF: models one lens in full, as `fit_lens_path` does; so do the next five and `choices`.
        exclude: file that is not zero where a pixel does not count.
        positions: file of images of points of the source, as for `fit_lens_path`; they lead the search for the smooth model.
        position_order: of the numbers in it, where it is JSON: "xy" or "yx".
        noise_hdu: extension of the noise map.
        psf_hdu: of the PSF.
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
        **choices: how one lens is modelled, fields of `darklens.fit.one_lens.Choices`: light, source, regularisation, adaptive,
            nodes, starts, theta_E, centre, annulus.

    Raises:
        InputError: nothing readable, nothing known about the images, no image whose smooth fit converged, or a run of another task.
    """
    if strange := next((name for name in choices if name not in CHOICES), None):
        raise TypeError(f"localise() got an unexpected keyword argument {strange!r}")
    reading = {"hdu": hdu, "bands": bands, "limit": limit, "force": force, "log": log, "progress": progress}
    camera = {"instrument": instrument, "pixel_scale": pixel_scale, "psf_fwhm": psf_fwhm, "noise": noise, "mask": mask}
    whole: dict[str, Any] = {"psf": psf, "exclude": exclude, "noise_hdu": noise_hdu, "psf_hdu": psf_hdu, "positions": positions}
    whole |= {"position_order": position_order, **choices}
    halo = {"clump": clump, "z_lens": z_lens, "z_source": z_source}
    if str(method) != LIKELIHOOD:
        _check_run(method, preset, model, fixed or None, *camera.values(), *whole.values(), *halo.values())
        return _by_network(method, path, out, device, candidates, reading)
    from darklens.infer.substructure import Settings

    settings = Settings(draws=simulations, false_alarm=false_alarm, candidates=candidates, seed=seed)
    if any(value is not None for value in whole.values()):
        if preset is not None or fixed:
            raise InputError("preset and fixed parameters belong to batches of smooth lenses: leave them out to model one in full")
        return _in_one_lens(path, out, model, camera, whole, halo, settings, reading)
    return _in_smooth_lenses(path, out, preset, model, fixed or {}, camera, halo, settings, reading)


def _check_run(method: str | Path, *given: Any) -> None:
    """Refuse what is no run, and options that a run knows itself."""
    if any(value is not None for value in given):
        raise InputError("a run knows its instrument and its fits: leave options about them out, or localise by likelihood")
    if not Path(method).exists() and ":" not in str(method):
        raise InputError(f"{method} is neither {LIKELIHOOD!r} nor a run: give the folder of a run of localisation")


def _by_network(
    method: str | Path, path: str | Path, out: str | Path, device: str, candidates: int, reading: dict[str, Any]
) -> dict[str, Any]:
    """Let a run of localisation look at the images."""
    from darklens.runs import Run
    from darklens.train.localiser import Localiser
    from darklens.train.localiser_paths import localise_with

    return localise_with(Localiser(Run.open(method), device), Path(path), Path(out), candidates=candidates, **reading)


def _in_one_lens(
    path: str | Path,
    out: str | Path,
    model: str | None,
    camera: dict[str, Any],
    whole: dict[str, Any],
    halo: dict[str, Any],
    settings: Settings,
    reading: dict[str, Any],
) -> dict[str, Any]:
    """Model one lens in full, and search that."""
    from darklens.fit.one_lens import Choices
    from darklens.fit.one_lens.reading import Given
    from darklens.infer.substructure import Clump, localise_lens

    if halo["z_lens"] is None or halo["z_source"] is None:
        raise InputError("a real lens does not say at which redshifts it and its source are: give --z-lens and --z-source")
    named = {"noise": camera["noise"], "psf": whole["psf"], "mask": camera["mask"], "exclude": whole["exclude"]}
    files: dict[str, Any] = {name: None if file is None else Path(file) for name, file in named.items()}
    scale = {name: camera[name] for name in ("pixel_scale", "psf_fwhm", "instrument")}
    hdus = {"hdu": reading["hdu"], "noise_hdu": whole["noise_hdu"], "psf_hdu": whole["psf_hdu"]}
    lens = Given(Path(path), **files, **scale, **hdus, bands=reading["bands"])
    wanted = {"model": model} | {key: value for key, value in whole.items() if key in CHOICES}
    choices = Choices(seed=settings.seed, **{key: value for key, value in wanted.items() if value is not None})
    kind = Clump(halo["z_lens"], halo["z_source"], halo["clump"] or "tnfw")
    told = {key: reading[key] for key in ("force", "log", "progress")} | {"position_order": whole["position_order"]}
    told["positions"] = None if whole["positions"] is None else Path(whole["positions"])
    return localise_lens(lens, Path(out), kind, choices=choices, settings=settings, **told)


def _in_smooth_lenses(
    path: str | Path,
    out: str | Path,
    preset: str | None,
    model: str | None,
    fixed: dict[str, float],
    camera: dict[str, Any],
    halo: dict[str, Any],
    settings: Settings,
    reading: dict[str, Any],
) -> dict[str, Any]:
    """Fit smooth lenses to the images, and search each."""
    from darklens.fit.request import Request, read_map
    from darklens.infer.substructure import localise_path

    sigma, inside = (None if camera[key] is None else read_map(Path(camera[key])) for key in ("noise", "mask"))
    request = Request(preset, camera["instrument"], model, fixed, camera["pixel_scale"], camera["psf_fwhm"], sigma)
    return localise_path(Path(path), Path(out), request, settings=settings, mask=inside, **halo, **reading)
