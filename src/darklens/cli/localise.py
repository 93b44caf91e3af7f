"""The command that looks for dark clumps: localise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.fit import (
    Adaptive,
    Annulus,
    Centre,
    Fixed,
    Instrument,
    Light,
    Nodes,
    NoiseHdu,
    PositionOrder,
    Preset,
    PsfHdu,
    Regularisation,
    Source,
    Starts,
    ThetaE,
    numbers,
    pair,
)
from darklens.cli.shared import Bands, Device, Force, Hdu, Json, hdu_of


@app.command()
def localise(
    method: Annotated[str, typer.Argument(metavar="RUN|likelihood", help="likelihood, or a run of localisation.")],
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image, a folder, a table.")],
    out: Annotated[Path, typer.Option(help="Folder for maps (FITS), candidates.csv, figures and localisation.json.")],
    preset: Preset = None,
    instrument: Instrument = None,
    model: Annotated[str | None, typer.Option(help="Smooth lens, as for darklens fit.")] = None,
    fixed: Fixed = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel, with --psf-fwhm or --psf.")] = None,
    psf_fwhm: Annotated[float | None, typer.Option(help="Arcsec, Gaussian.")] = None,
    psf: Annotated[Path | None, typer.Option(help="FITS or .npy file of the PSF: models one lens in full.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="One lens: map, non-zero where a pixel does not count.")] = None,
    light: Light = None,
    source: Source = None,
    regularisation: Regularisation = None,
    adaptive: Adaptive = None,
    positions: Annotated[
        Path | None,
        typer.Option(help="One lens: images of a point of the source, which lead the search for its model; as for darklens fit."),
    ] = None,
    position_order: PositionOrder = None,
    nodes: Nodes = None,
    starts: Starts = None,
    theta_E: ThetaE = None,
    centre: Centre = None,
    annulus: Annulus = None,
    noise: Annotated[Path | None, typer.Option(help="FITS or .npy map of the standard deviation of each pixel.")] = None,
    mask: Annotated[Path | None, typer.Option(help="FITS or .npy map, non-zero where a pixel counts.")] = None,
    noise_hdu: NoiseHdu = None,
    psf_hdu: PsfHdu = None,
    clump: Annotated[str | None, typer.Option(help="tnfw (a truncated halo) or point.")] = None,
    z_lens: Annotated[float | None, typer.Option(help="Redshift of the lens, where no preset says it.")] = None,
    z_source: Annotated[float | None, typer.Option(help="Redshift of the source, likewise.")] = None,
    false_alarm: Annotated[float, typer.Option(help="Probability that a clump-free image shows a detection somewhere.")] = 0.01,
    simulations: Annotated[int, typer.Option(help="Images of each lens without clump, for that probability.")] = 400,
    candidates: Annotated[int, typer.Option(min=1, help="Places to list.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the simulations.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Images to look at, at most.")] = 12,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Where is the clump: gain in likelihood at every place and mass, or a network's heat map, and the candidates."""
    from darklens import api, console

    with console.progress_bar() as progress:
        content = api.localise(
            method, path, out, preset=preset, instrument=instrument, model=model, fixed=numbers(fixed), pixel_scale=pixel_scale,
            psf_fwhm=psf_fwhm, psf=psf, exclude=exclude, light=light, source=source, regularisation=regularisation,
            adaptive=adaptive, positions=positions, position_order=position_order, nodes=nodes, starts=starts, theta_E=theta_E,
            centre=pair(centre, "--centre"), annulus=pair(annulus, "--annulus"), noise=noise, mask=mask,
            noise_hdu=hdu_of(noise_hdu), psf_hdu=hdu_of(psf_hdu), clump=clump, z_lens=z_lens, z_source=z_source,
            false_alarm=false_alarm, simulations=simulations, candidates=candidates, seed=seed, limit=limit, hdu=hdu_of(hdu),
            bands=bands, device=device, force=force, log=console.say,
            progress=lambda done, total: progress("searching", done, total),
        )  # fmt: skip
    if as_json:
        return console.show_json(content)
    lines = [
        [one["id"], f"{c['x']:+.3f}", f"{c['y']:+.3f}", f"{c['log10_m']:.2f}" + _error(c), f"{c['significance']:.2f}",
         "" if c["false_alarm"] is None else f"{c['false_alarm']:.2g}", "yes" if c["detected"] else "no"]
        for one in content["found"] for c in one["candidates"]
    ]  # fmt: skip
    names = ["image", 'x "', 'y "', "log10 M_sun", "significance" if method == "likelihood" else "score", "false alarm", "detected"]
    return console.table(f"candidates in {path}; maps and figures in {out}", names, lines)


def _error(candidate: dict) -> str:
    error = candidate["log10_m_error"]
    return f" +- {error:.2f}" if error == error else ""  # NaN where no fit converged
