"""The command that paints arcs on real galaxies: inject."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darklens.cli.application import app
from darklens.cli.shared import Force, Json, count_of, show
from darklens.errors import InputError


@app.command()
def inject(
    cutouts: Annotated[Path, typer.Argument(help="Real galaxies: a table, or anything that darklens reads.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    population: Annotated[
        str | None, typer.Option(help="Take lenses and sources from this preset; else they fit the galaxies.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="Folder of real galaxies to lens: COSMOS in GalSim's form, or images of one galaxy each.")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Instruments, one a band: des-g,des-r,des-i. What is not given is theirs.")
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the bands, in their order: g,r,i.")] = None,
    psf: Annotated[str | None, typer.Option(help="FWHM in arcsec or a file; one for all bands, or one each with commas.")] = None,
    zero_point: Annotated[
        str | None, typer.Option(help="AB magnitude of one unit of the cutouts; without it, brightness is drawn by S/N.")
    ] = None,
    gain: Annotated[
        str | None, typer.Option(help="Electrons per unit of the cutouts; by default by instrument and zero point, else no noise.")
    ] = None,
    exposure: Annotated[float | None, typer.Option(help="Seconds, in place of the instrument's.")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Band of magnitudes, S/N and seeing: r, vis, f814w or the middle one.")
    ] = None,
    n: Annotated[str | None, typer.Option("--n", help="Rows; by default every galaxy stands once without arcs.")] = None,
    seed: Annotated[int, typer.Option(help="Every row is a function of (seed, row).")] = 0,
    fraction: Annotated[float, typer.Option(help="Of lenses among the rows; the others are the cutouts as they are.")] = 0.5,
    min_snr: Annotated[float, typer.Option(help="Of the arcs in the reference band; fainter ones are drawn again.")] = 20.0,
    theta_e: Annotated[str, typer.Option("--theta-e", help="Least and largest Einstein radius, arcsec.")] = "0.5,3",
    mass: Annotated[
        str, typer.Option(help="luminosity: Einstein radius by the galaxy's light; range: uniform in --theta-e.")
    ] = "luminosity",
    source_mag: Annotated[str, typer.Option(help="Brightest and faintest source, unlensed, AB.")] = "21.5,25.5",
    split: Annotated[str, typer.Option(help="Fractions train,val,test, drawn by galaxy; none leaves it out.")] = "0.8,0.1,0.1",
    gallery: Annotated[Path | None, typer.Option(help="PNG file: some galaxies before and after, and their arcs.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Paint simulated arcs on real galaxies; a killed injection is continued by the same command.

    The background keeps its noise; arcs bring their own Poisson noise. One galaxy never stands in two splits.
    """
    from darklens import api, console
    from darklens.data import summary

    with console.progress_bar() as progress:
        table, checks = api.injected(
            cutouts, out=out, n=None if n is None else count_of(n), population=population, sources=sources,
            instrument=instrument, bands=bands, psf=psf, zero_point=zero_point, gain=gain, exposure=exposure,
            pixel_scale=pixel_scale, reference=reference, seed=seed, fraction=fraction, min_snr=min_snr,
            theta_E=_pair(theta_e, "--theta-e"), mass=mass, source_mag=_pair(source_mag, "--source-mag"),
            split=None if split == "none" else split, gallery=gallery, force=force,
            progress=lambda done, total: progress("painting arcs", done, total),
        )  # fmt: skip
    if as_json:
        return console.show_json(summary(table) | {"checks": checks})
    show(summary(table), as_json)
    return console.table("checks", ["", ""], _lines(checks))


def _pair(text: str, option: str) -> tuple[float, float]:
    """Read two numbers."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not two numbers: write for example {option} 0.8,2.5") from error
    return low, high


def _lines(checks: dict[str, Any]) -> list[list[str]]:
    """Say what the checks found."""
    lines = [["lenses kept", f"{checks['kept']:,}"]]
    lines += [[f"drawn again, {reason}", f"{count:,}"] for reason, count in checks["rejected"].items()]
    if checks["flux_ratio"] is not None:
        lines.append(["light added over light of the arcs", f"{checks['flux_ratio']:.4f} +- {checks['flux_error']:.4f}"])
    lines.append(["pixels free of arcs, changed", f"{checks['changed_pixels']:,} of {checks['free_pixels']:,}"])
    noise = "no noise added: no gain is known" if checks["noise_variance"] is None else f"{checks['noise_variance']:.3f}"
    lines.append(["variance on arcs over arcs/gain", noise])
    lines.append(["untouched rows, changed", f"{checks['changed_rows']} of {checks['untouched_rows']}"])
    return lines
