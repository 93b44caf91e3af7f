"""Commands that make images: list, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Json, show


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List presets, instruments, models and recipes."""
    from darklens import console
    from darklens.models import MODELS
    from darklens.recipes import load, names
    from darklens.simulate import INSTRUMENTS, PRESETS

    content = {
        "presets": {p.name: p.summary for p in PRESETS.values()},
        "instruments": {
            i.name: f'{i.pixel_scale}"/pixel, {i.psf!r}, zero point {i.zero_point}, {i.n_exposures} x {i.exposure_time} s'
            for i in INSTRUMENTS.values()
        },
        "models": {name: model.summary for name, model in MODELS.items()},
        "recipes": {name: load(name).summary for name in names()},
    }
    if as_json:
        return console.show_json(content)
    for title, rows in content.items():
        console.table(title, ["name", "what it is"], [list(row) for row in rows.items()])
        console.stdout.print()
    return None


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(help="Preset; darklens list names them.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    n: Annotated[int, typer.Option("--n", help="Images over all classes.")] = 3000,
    seed: Annotated[int, typer.Option(help="Every row is a function of (seed, row).")] = 0,
    instrument: Annotated[str | None, typer.Option(help="See the scenes through another instrument.")] = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Simulate lens images into a table; a killed simulation is continued by the same command."""
    from darklens import console
    from darklens.data import summary
    from darklens.simulate import simulate as write

    done = 0
    with console.progress_bar() as progress:

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            progress(f"simulating {preset}", done, n)

        table = write(preset, n, seed=seed, out=out, instrument=instrument, device=device, force=force, progress=advance)
    show(summary(table), as_json)
