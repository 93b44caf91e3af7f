"""The command that draws where a network looks, and measures what such drawings are worth: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Device, Force, Hdu, Json, Resize, hdu_of


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="Run folder of a classifier, or MODEL:PRESET.")],
    path: Annotated[Path, typer.Argument(help="A table, an image, a folder of images.")],
    out: Annotated[Path, typer.Option(help="Folder: explanation.html, explanation.json, maps.npz, pictures.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="grad-cam, grad-cam++, integrated-gradients, smoothgrad, occlusion, attention-rollout; repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Images that are explained, drawn at random.")] = 8,
    target: Annotated[str | None, typer.Option(help="Class that is explained; that which each image is called.")] = None,
    features: Annotated[int, typer.Option(help="Images whose features are drawn on a plane; 0 for none.")] = 100,
    projections: Annotated[str, typer.Option(help="Ways of doing that.")] = "pca,tsne,umap",
    seed: Annotated[int, typer.Option(help="Of the draw, and of methods that draw.")] = 0,
    resize: Resize = False,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw where a classifier looks, six ways, and measure which of them tells the truth.

    Of simulated images the truth is drawn again: what their substructure changed, and where it is.
    """
    from darklens import api, console
    from darklens.report.explanation import FIGURES

    names = [name.strip() for one in method for name in one.split(",")] if method else None
    content = api.explain(
        run, path, out, methods=names, n=n, target=target, features=features, seed=seed, resize=resize, hdu=hdu_of(hdu),
        bands=bands, projections=[name.strip() for name in projections.split(",") if name.strip()], device=device, force=force,
        on_skip=lambda what, why: console.say(f"skipped {what}: {why}"), log=console.say,
    )  # fmt: skip
    for one in content["left_out"]:
        console.say(f"left out {one['method']}: {one['why']}")
    if as_json:
        return console.show_json(content)
    rows = {**content["methods"], **{f"({name})": numbers for name, numbers in content["references"].items()}}
    keys = [key for key in FIGURES if any(key in numbers for numbers in rows.values())]
    table = [[name, *(_short(numbers.get(key)) for key in keys)] for name, numbers in rows.items()]
    columns = ["", *(FIGURES[key][0] for key in keys)]
    console.table(f"means of {content['scored']} images; their intervals are on the page", columns, table)
    if not content["truth"]["known"]:
        console.say(f"the truth is not known: {content['truth']['why']}")
    console.say(f"wrote {out / 'explanation.html'}")
    return None


def _short(number: dict | None) -> str:
    return "" if number is None or number["value"] is None else f"{number['value']:.2f}"
