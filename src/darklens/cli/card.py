"""The command that tells what a run or a table is: card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Force


@app.command()
def card(
    path: Annotated[Path, typer.Argument(help="A run folder, MODEL:PRESET (darklens list), or the folder of a table.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file; stdout by default.")] = None,
    force: Force = False,
) -> None:
    """Model card of a run, or data card of a table: fixed questions, answered from what is on record."""
    from darklens import api, console

    found = api.card(path, out, force=force)
    if out is not None:
        return console.say(f"card: {out}")
    return console.markdown(found.markdown(), found.markdown(front=False))
