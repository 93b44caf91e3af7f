"""The command that says whether images have changed: drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Hdu, Json, Resize, hdu_of


@app.command()
def drift(
    a: Annotated[Path, typer.Argument(help="What is known: a table, or anything that darklens reads.")],
    b: Annotated[Path, typer.Argument(help="What is to be judged.")],
    run: Annotated[Path | None, typer.Option(help="Run whose features and flags are compared as well, or MODEL:PRESET.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report: JSON, HTML, Markdown, pictures.")] = None,
    n: Annotated[int, typer.Option("--n", help="Images of each that are drawn at random.")] = 2000,
    rate: Annotated[float, typer.Option(help="False alarms where nothing has changed.")] = 0.01,
    bands: Annotated[str | None, typer.Option(help="Only these bands: g,r,i.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw and of the shuffles.")] = 0,
    resize: Resize = False,
    hdu: Hdu = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare two sets of images: noise, PSF, background, scale; a classifier that tells them apart; a verdict in words."""
    from darklens import api, console
    from darklens.report.drift import facts, short, signed

    skipped: list[str] = []
    content = api.drift(
        a, b, run=run, out=out, n=n, rate=rate, bands=bands, hdu=hdu_of(hdu), resize=resize, seed=seed, device=device, force=force,
        on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
    )  # fmt: skip
    for line in skipped:
        console.say(line)
    if as_json:
        return console.show_json(content)
    columns = ["statistic", "band", "A", "B", "difference (SE)", "ratio", "KS", "p"]
    rows = [
        [r["statistic"], r["band"], short(r["mean_a"]), short(r["mean_b"]), signed(r["in_se"]), short(r["ratio"]),
         f"{r['ks']:.3f}", short(r["p_holm"])]
        for r in sorted(content["statistics"], key=lambda r: r["p"])
    ]  # fmt: skip
    console.table("statistics, those that differ most first; p is corrected for their number", columns, rows)
    for question, answer in facts(content):
        console.say(f"{question}: {answer}")
    console.say(content["verdict"])
    if out is not None:
        console.say(f"wrote {out / 'drift.html'}")
    return None
