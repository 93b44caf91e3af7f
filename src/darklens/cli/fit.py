"""Commands that take lenses apart: fit, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Force, Hdu, Json, hdu_of, show
from darklens.errors import InputError

Preset = Annotated[str | None, typer.Option(help="The images are like those of this preset; darklens list names them.")]
Instrument = Annotated[str | None, typer.Option(help="The images are sky-subtracted, in e-/s, from this instrument.")]
Fixed = Annotated[list[str] | None, typer.Option("--fix", help="NAME=VALUE: a parameter that is known; repeatable.")]


@app.command()
def fit(
    path: Annotated[Path, typer.Argument(help="An image, a folder, a table.")],
    out: Annotated[Path, typer.Option(help="Folder for residuals, parameters.csv and gallery.png.")],
    preset: Preset = None,
    instrument: Instrument = None,
    model: Annotated[
        str | None, typer.Option(help="sis, sie or epl, +shear+sersic, and +lens_light where the lens shines.")
    ] = None,
    fixed: Fixed = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel, with --psf-fwhm: an instrument of your own.")] = None,
    psf_fwhm: Annotated[float | None, typer.Option(help="Arcsec, Gaussian.")] = None,
    noise: Annotated[Path | None, typer.Option(help="FITS or .npy map of the standard deviation of each pixel.")] = None,
    mask: Annotated[Path | None, typer.Option(help="FITS or .npy map, non-zero where a pixel counts.")] = None,
    hdu: Hdu = None,
    bands: Bands = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit smooth lenses: parameters with errors, and what is left in units of the noise."""
    from darklens import api, console

    with console.progress_bar() as progress:
        content = api.fit_path(
            path, out, preset=preset, instrument=instrument, model=model, fixed=_numbers(fixed), pixel_scale=pixel_scale,
            psf_fwhm=psf_fwhm, noise=noise, mask=mask, hdu=hdu_of(hdu), bands=bands, force=force,
            progress=lambda done: progress("fitting", done, done), log=console.say,
        )  # fmt: skip
    rows = content.pop("fits")
    if as_json:
        return console.show_json(content | {"fits": rows})
    names = [k.removeprefix("fit_") for k in rows[0] if k.startswith("fit_theta") and not k.endswith("_error")]
    lines = [
        [r["id"], r["label"], *(f"{r[f'fit_{n}']:.4f} +- {r[f'fit_{n}_error']:.4f}" for n in names), f"{r['fit_chi2']:.3f}",
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
        path, preset=preset, instrument=instrument, model=model, fixed=_numbers(fixed), pixel_scale=pixel_scale,
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


def _numbers(items: list[str] | None) -> dict[str, float]:
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
