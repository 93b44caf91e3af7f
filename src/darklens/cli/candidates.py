"""The command that makes a set to look at out of scores: candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Force, Json


@app.command()
def candidates(
    scores: Annotated[str, typer.Argument(help="What darklens predict --out wrote: a file, a folder, a URL.")],
    out: Annotated[Path, typer.Option(help="Folder of the tables, pictures and pages.")],
    top: Annotated[int, typer.Option(help="How many.")] = 500,
    images: Annotated[Path | None, typer.Option(help="Where the images are, by id; by default where the scores say.")] = None,
    known: Annotated[Path | None, typer.Option(help="Catalogue of known objects, with ra and dec in degrees.")] = None,
    radius: Annotated[float, typer.Option(help="Arcsec within which a position is that of a known object.")] = 5.0,
    bands: Annotated[str | None, typer.Option(help="Red, green and blue of the colour picture: i,r,g or 2,1,0.")] = None,
    min_probability: Annotated[float, typer.Option(help="Smallest probability of a candidate.")] = 0.0,
    label: Annotated[str, typer.Option("--class", help="Class whose probability ranks.")] = "lens",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Rank a survey's images, draw the best, mark what is known; tables, a page, a contact sheet, a sheet for decisions."""
    from darklens import api, console
    from darklens.report.candidates.writing import sentences

    with console.progress_bar() as progress:
        summary = api.candidates(
            scores, top, out, images=images, known=known, radius=radius, bands=bands and [b.strip() for b in bands.split(",")],
            min_probability=min_probability, label=label, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        return console.show_json(summary)
    for sentence in sentences(summary):
        console.say(sentence)
    console.say(f"wrote {', '.join(summary['files'][:4])}, ... into {out}: begin with {out / 'candidates.html'}")
    return None
