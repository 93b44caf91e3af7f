"""The command that makes images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Json, count_of, hdu_of, show
from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.simulate.sampling import Supersampling as Samples

Instrument = Annotated[str | None, typer.Option(help="See the scenes through another instrument; a,b,c gives a band each.")]
PSFFile = Annotated[Path | None, typer.Option("--psf", help="FITS or .npy file with the point spread function.")]
PSFHdu = Annotated[str | None, typer.Option(help="Extension of the PSF file, by number or name.")]
PSFScale = Annotated[float | None, typer.Option(help="Arcsec per pixel of the PSF file, where it is not the instrument's.")]
CorrelatedNoise = Annotated[
    float | None, typer.Option(help="Correlate the noise, as a drizzle with drops of so many pixels (1.5).")
]
CosmicRays = Annotated[float | None, typer.Option(help="Add so many cosmic rays an image, in the mean.")]
Supersampling = Annotated[str, typer.Option(help="Samples a pixel side, or adaptive: 1 samples light at pixel centres.")]
LensLight = Annotated[bool, typer.Option("--lens-light/--no-lens-light", help="Whether the light of the lens is seen.")]


Positives = Annotated[int | None, typer.Option(help="So many images are of the last class (lens); by default half.")]
Difficulty = Annotated[float | None, typer.Option(help="Of lens-finding: 0 is easy, 1 is hard.")]
Galaxies = Annotated[Path | None, typer.Option(help="Of lens-finding: real cutouts instead of simulated galaxies.")]


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(help="Preset; darklens list names them.")],
    out: Annotated[str, typer.Option(help="Folder of the table; with --ray also a URL, for example s3://bucket/table.")],
    n: Annotated[str, typer.Option("--n", help="Images over all classes, for example 3000 or 1e7.")] = "3000",
    seed: Annotated[int, typer.Option(help="Every row is a function of (seed, row).")] = 0,
    instrument: Instrument = None,
    psf: PSFFile = None,
    psf_hdu: PSFHdu = None,
    psf_scale: PSFScale = None,
    correlated_noise: CorrelatedNoise = None,
    cosmic_rays: CosmicRays = None,
    supersampling: Supersampling = "1",
    lens_light: LensLight = True,
    positives: Positives = None,
    difficulty: Difficulty = None,
    galaxies: Galaxies = None,
    device: Device = "cpu",
    ray: Annotated[str | None, typer.Option(help="Share the work on a Ray cluster: local, auto, or HOST:PORT of its head.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Simulate lens images into a table; a killed simulation is continued by the same command."""
    from darklens import console
    from darklens.data import summary
    from darklens.simulate import PAIRS, configured
    from darklens.simulate import simulate as write

    count, done = count_of(n), 0
    if preset in PAIRS:
        given = (instrument, psf, correlated_noise, cosmic_rays, positives, difficulty, galaxies, ray)
        plain = supersampling == "1" and lens_light and all(value is None for value in given)
        return _pairs(preset, count, seed, out, device, force, as_json, plain=plain)
    sampled = cast("Samples", int(supersampling) if supersampling.isdigit() else supersampling)  # `configured` refuses other words
    chosen = configured(
        preset,
        instrument=instrument,
        psf=psf,
        psf_hdu=hdu_of(psf_hdu),
        psf_scale=psf_scale,
        correlated_noise=correlated_noise,
        cosmic_rays=cosmic_rays,
        supersampling=sampled,
        lens_light=lens_light,
        positives=None if positives is None else Fraction(positives, max(1, count)),
        difficulty=difficulty,
        galaxies=galaxies,
    )
    with console.progress_bar() as progress:

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            progress(f"simulating {preset}", done, count)

        if ray is None:
            table = write(chosen, count, seed=seed, out=out, device=device, force=force, progress=advance)
            content = summary(table)
        else:
            from darklens.cluster import simulate_on_cluster

            if device != "cpu":
                raise InputError(f"--ray renders on the nodes' CPUs, not on --device {device}: leave one of the two out")

            made = simulate_on_cluster(chosen, count, seed=seed, out=out, address=ray, force=force, progress=advance)
            kept = {k: made[k] for k in ("preset", "seed", "rows", "shape", "classes", "rows_per_shard")}
            content = {"path": out, **kept, "shards": len(made["shards"]), "complete": made["complete"]}
    show(content, as_json)


def _pairs(preset: str, n: int, seed: int, out: str, device: str, force: bool, as_json: bool, *, plain: bool) -> None:
    """Simulate pairs for super-resolution."""
    from darklens import api, console

    if not plain:
        raise InputError(f"preset {preset!r} makes pairs with cameras of its own: give --n, --seed, --out and --device alone")
    if "://" in out:
        raise InputError(f"{out} is a URL and pairs are written to a folder: give one")
    with console.progress_bar() as progress:
        folder = api.simulate_pairs(preset, n, seed=seed, out=out, device=device, force=force, progress=progress)
    show({"path": str(folder), "preset": preset, "pairs": n, "seed": seed, "folders": "HR, LR, TRUTH"}, as_json)
