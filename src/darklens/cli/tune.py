"""The search for better settings of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Json, Settings, interrupted, short


@app.command()
def tune(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a YAML file; its section `tune` says what is searched.")],
    trials: Annotated[int, typer.Option(help="Trials that the study shall have in all.")] = 20,
    budget: Annotated[str | None, typer.Option(help="Time after which no trial is begun: 90s, 30m or 2h.")] = None,
    data: Annotated[Path | None, typer.Option(help="Train on this instead of the recipe's data.")] = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study, new or continued; runs/NAME-study by default.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Search for better settings, judged on validation images; the test images are never looked at."""
    from darklens import api, console

    with console.progress_bar() as progress:
        content = api.tune(
            recipe,
            trials,
            budget=budget,
            data=data,
            set=set_ or [],
            out=out,
            device=device,
            log=console.say,
            progress=progress,
        )
    if as_json:
        console.show_json(content)
    else:
        rows = sorted(content["trials"], key=lambda row: (row["validation_loss"] is None, row["validation_loss"]))
        columns = list(rows[0]) if rows else []
        cells = [["" if row[k] is None else short(row[k]) for k in columns] for row in rows]
        console.table("trials, the best first", columns, cells)
    if content["interrupted"]:
        interrupted()
    if content["recipe"]:
        console.say(f"train it with: darklens train {content['recipe']}")
