"""The command that makes an image sharper: enhance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Device, Force, Hdu, Json, hdu_of, show


@app.command()
def enhance(
    run: Annotated[Path, typer.Argument(help="Run of super-resolution: its folder, or MODEL:PRESET (darklens list).")],
    image: Annotated[Path, typer.Argument(help="One image, of the size, unit and pixel scale that the run was trained on.")],
    out: Annotated[Path, typer.Option(help="FITS file: the sharper image, and its sigma in an extension.")],
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make an image sharper: header and coordinates go over to the finer pixels."""
    from darklens import api

    show(api.enhance(run, image, out, hdu=hdu_of(hdu), bands=bands, device=device, force=force), as_json)
