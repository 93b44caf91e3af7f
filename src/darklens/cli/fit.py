"""Commands that take lenses apart: fit (smooth lenses in batches, or one lens in full), calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Force, Hdu, Json, hdu_of, show
from darklens.errors import InputError

Preset = Annotated[str | None, typer.Option(help="The images are like those of this preset; darklens list names them.")]
Instrument = Annotated[str | None, typer.Option(help="The images are sky-subtracted, in e-/s, from this instrument.")]
Fixed = Annotated[list[str] | None, typer.Option("--fix", help="NAME=VALUE: a parameter that is known; repeatable.")]
Centre = Annotated[str | None, typer.Option(help="One lens: X,Y of the lens from the middle of the image, arcsec.")]
Annulus = Annotated[str | None, typer.Option(help="One lens: INNER,OUTER radius of the pixels that are fitted, arcsec.")]
NoiseHdu = Annotated[str | None, typer.Option(help="Extension of the noise map.")]
PsfHdu = Annotated[str | None, typer.Option(help="Extension of the PSF.")]
Source = Annotated[str | None, typer.Option(help="One lens: pixelised (the default) or parametric.")]
Light = Annotated[str | None, typer.Option(help="One lens: mge (the default), sersic, sersics or none.")]
Starts = Annotated[int | None, typer.Option(help="One lens: starting points.")]
ThetaE = Annotated[float | None, typer.Option("--theta-e", help="One lens: guess of the Einstein radius, arcsec.")]
Nodes = Annotated[int | None, typer.Option(help="One lens: nodes along a side of a pixelised source.")]
Regularisation = Annotated[str | None, typer.Option(help="One lens: curvature (the default) or gradient.")]
Adaptive = Annotated[
    bool | None,
    typer.Option("--adaptive/--uniform", help="One lens: a pixelised source may vary more where it is bright; the default."),
]
PositionOrder = Annotated[str | None, typer.Option(help="Of the positions in JSON: xy, or yx as PyAutoLens writes.")]
PointImages = Annotated[
    str | None, typer.Option(help="One lens: images of a quasar, 'x,y;x,y;...' in arcsec, a number of them, or auto.")
]


@app.command()
def fit(
    path: Annotated[Path, typer.Argument(help="An image, a folder, a table.")],
    out: Annotated[Path, typer.Option(help="Folder for residuals, parameters.csv and gallery.png.")],
    preset: Preset = None,
    instrument: Instrument = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="sis, sie or epl, +shear+sersic, +lens_light where the lens shines; one lens: sie or epl, +shear, +multipoles."
        ),
    ] = None,
    fixed: Fixed = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel, with --psf-fwhm or --psf.")] = None,
    psf_fwhm: Annotated[float | None, typer.Option(help="Arcsec, Gaussian.")] = None,
    noise: Annotated[Path | None, typer.Option(help="FITS or .npy map of the standard deviation of each pixel.")] = None,
    mask: Annotated[Path | None, typer.Option(help="FITS or .npy map, non-zero where a pixel counts.")] = None,
    psf: Annotated[Path | None, typer.Option(help="FITS or .npy file of the PSF: models one lens in full.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="One lens: map, non-zero where a pixel does not count.")] = None,
    source: Source = None,
    light: Light = None,
    samples: Annotated[int | None, typer.Option(help="One lens: posterior samples; 0 gives a Gaussian approximation.")] = None,
    seed: Annotated[int, typer.Option(help="One lens: of starts and chains.")] = 0,
    starts: Starts = None,
    theta_E: ThetaE = None,
    centre: Centre = None,
    annulus: Annulus = None,
    nodes: Nodes = None,
    regularisation: Regularisation = None,
    adaptive: Adaptive = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="One lens: images of a point of the source, arcsec from the middle: JSON [[x, y], ...], or CSV with x,y(,source)."
        ),
    ] = None,
    position_sigma: Annotated[float | None, typer.Option(help="Of the positions, arcsec; 0.05.")] = None,
    position_order: PositionOrder = None,
    position_tolerance: Annotated[
        float | None, typer.Option(help="Arcsec in the source plane within which a start brings them together; theta_E / 5.")
    ] = None,
    position_likelihood: Annotated[
        bool,
        typer.Option("--position-likelihood", help="The positions are data besides the pixels; else they lead the search only."),
    ] = False,
    point_images: PointImages = None,
    point_sigma: Annotated[float | None, typer.Option(help="How closely point images meet, arcsec in the image; 0.004.")] = None,
    psf_error: Annotated[float | None, typer.Option(help="Relative error of the PSF under point images; measured.")] = None,
    psf_oversampling: Annotated[int | None, typer.Option(help="One lens: pixels of the PSF along a side of the image's.")] = None,
    subpixels: Annotated[int | None, typer.Option(help="One lens: rays along a side of a pixel; 2.")] = None,
    noise_hdu: NoiseHdu = None,
    psf_hdu: PsfHdu = None,
    hdu: Hdu = None,
    bands: Bands = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit smooth lenses: parameters with errors, and what is left in units of the noise.

    With --psf, or any option of one lens: a full model of that lens with a source on pixels, in fit.json, fit.fits and figures.
    """
    from darklens import api, console

    pair_of = {"centre": pair(centre, "--centre"), "annulus": pair(annulus, "--annulus")}
    choices: dict[str, Any] = {"source": source, "light": light, "starts": starts, "theta_E": theta_E, "nodes": nodes, **pair_of}
    choices |= {"regularisation": regularisation, "point_images": point_images, "point_sigma": point_sigma, "psf_error": psf_error}
    choices |= {"psf_oversampling": psf_oversampling, "subpixels": subpixels, "adaptive": adaptive}
    choices = {k: v for k, v in choices.items() if v is not None}
    points = (positions, position_sigma, position_order, position_tolerance, position_likelihood or None)
    if choices or any(v is not None for v in (*points, samples, psf, exclude, noise_hdu, psf_hdu)):
        if preset is not None or fixed:
            raise InputError("--preset and --fix belong to batches of smooth lenses: leave them out to model one lens in full")
        choices |= {"model": model} if model is not None else {}
        with console.progress_bar() as progress:
            content = api.fit_lens_path(
                path, out, noise=noise, psf=psf, mask=mask, exclude=exclude, pixel_scale=pixel_scale, psf_fwhm=psf_fwhm,
                instrument=instrument, hdu=hdu_of(hdu), noise_hdu=hdu_of(noise_hdu), psf_hdu=hdu_of(psf_hdu), bands=bands,
                positions=positions, position_sigma=position_sigma, position_order=position_order,
                position_tolerance=position_tolerance, position_likelihood=position_likelihood,
                samples=samples or 0, seed=seed, force=force, log=console.say,
                progress=lambda done, total: progress("sampling", done, total), **choices,
            )  # fmt: skip
        return console.show_json(content) if as_json else _show_lens(content, out)
    with console.progress_bar() as progress:
        content = api.fit_path(
            path, out, preset=preset, instrument=instrument, model=model, fixed=numbers(fixed), pixel_scale=pixel_scale,
            psf_fwhm=psf_fwhm, noise=noise, mask=mask, hdu=hdu_of(hdu), bands=bands, force=force,
            progress=lambda done: progress("fitting", done, done), log=console.say,
        )  # fmt: skip
    rows = content.pop("fits")
    if as_json:
        return console.show_json(content | {"fits": rows})
    names = [k.removeprefix("fit_") for k in rows[0] if k.startswith("fit_theta") and not k.endswith("_error")]
    lines = [
        [r["id"], r["label"], *(_with_error(r, n) for n in names), f"{r['fit_chi2']:.3f}",
         "yes" if r["fit_converged"] else "NO"]
        for r in rows[:30]
    ]  # fmt: skip
    console.table(f"fits of {path}", ["image", "label", *names, "reduced chi^2", "converged"], lines)
    if len(rows) > len(lines):
        console.say(f"and {len(rows) - len(lines)} more in {out / 'parameters.csv'}")
    return show(content, as_json)


@app.command()
def calibrate(
    path: Annotated[Path, typer.Argument(help="Images of smooth lenses: a folder, a table.")],
    preset: Preset = None,
    instrument: Instrument = None,
    model: Annotated[str | None, typer.Option(help="As for darklens fit.")] = None,
    fixed: Fixed = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel, with --psf-fwhm.")] = None,
    psf_fwhm: Annotated[float | None, typer.Option(help="Arcsec, first guess.")] = None,
    label: Annotated[str | None, typer.Option(help="Class of the smooth lenses, where there are others.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Images to use at most.")] = 500,
    out: Annotated[Path | None, typer.Option(help="JSON file.")] = None,
    hdu: Hdu = None,
    bands: Bands = None,
    as_json: Json = False,
) -> None:
    """Measure the PSF's width, the background and the counts a unit stands for, on images of smooth lenses."""
    from darklens import api, console
    from darklens.files import write_json

    content = api.calibrate(
        path, preset=preset, instrument=instrument, model=model, fixed=numbers(fixed), pixel_scale=pixel_scale,
        psf_fwhm=psf_fwhm, label=label, limit=limit, hdu=hdu_of(hdu), bands=bands, log=console.say,
    )  # fmt: skip
    if out is not None:
        write_json(out, content)
    if as_json:
        return console.show_json(content)
    units = {"psf_sigma": '"', "psf_fwhm": '"', "background_sigma": " a pixel", "counts_per_unit": "", "sky": " counts a pixel"}
    rows = [
        [name, f"{v['value']:.5g} +- {v['high'] - v['value']:.2g}{units[name]}" if isinstance(v, dict) else f"{v:.5g}"]
        for name, v in content.items()
        if v is not None
    ]
    return console.table(f"calibration on {path}", ["", "measured (68%)"], rows)


def _with_error(row: dict[str, Any], name: str) -> str:
    """Return a parameter with its error, which only a fit that converged has."""
    error = row[f"fit_{name}_error"]
    return f"{row[f'fit_{name}']:.4f}" + ("" if error is None else f" +- {error:.4f}")


def pair(text: str | None, option: str) -> tuple[float, float] | None:
    """Read an option of two numbers."""
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not a pair of numbers: write for example {option} 0.3,1.8") from error
    return first, second


def _show_lens(content: dict[str, Any], out: Path) -> None:
    from darklens import console

    units = {"theta_E": '"', "center_x": '"', "center_y": '"'}
    rows = []
    for name, value in content.items():
        if isinstance(value, dict) and {"value", "low95"} <= set(value):
            ends = ["", ""]
            if value["low"] is not None:
                ends = [f"{value['low']:.5g} to {value['high']:.5g}", f"{value['low95']:.5g} to {value['high95']:.5g}"]
            rows.append([name, f"{value['value']:.5g}{units.get(name, '')}", *ends])
    kind = "no intervals" if content["intervals"] == "none" else content["intervals"]
    console.table(f"{content['image']} ({kind})", ["", "value", "68%", "95%"], rows)
    console.say(
        f"reduced chi^2 {content['reduced_chi2']:.3f} over {content['pixels']} pixels, ln E {content['ln_evidence']:.1f}, "
        f"{content['seconds']:.0f} s; {out}"
    )
    if content["positions"] is not None:
        found = content["positions"]
        rms = found["image_plane_rms"]
        seen = "the model makes fewer images" if rms is None else f'rms {rms:.3f}" in the image plane'
        console.say(f'positions: {found["source_plane_scatter"]:.3f}" apart in the source plane, {seen}')
    if content["point_images"] is not None:
        _show_points(content["point_images"])


def _show_points(found: dict[str, Any]) -> None:
    from darklens import console

    fluxes = ", ".join(f"{image['flux']['value']:.4g}" for image in found["images"])
    how = "measured" if found["psf_error_measured"] else "given"
    console.say(
        f"{len(found['images'])} point images with fluxes {fluxes}: {1e3 * found['source_plane_scatter']['value']:.2g} "
        f"milliarcsec apart in the source plane; PSF error {100 * found['psf_error']:.2g}% ({how})"
    )


def numbers(items: list[str] | None) -> dict[str, float]:
    """Read NAME=VALUE options."""
    found = {}
    for item in items or []:
        name, sign, value = item.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"--fix {item!r} is not NAME=NUMBER: write for example --fix n_sersic=1")
    return found
