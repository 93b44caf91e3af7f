"""The commands that see images as vectors: embed, similar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Device, Force, Hdu, Json, Resize, hdu_of


@app.command()
def embed(
    run: Annotated[
        Path, typer.Argument(help="Run folder of an encoder (mae-arc, denoise-arc, ...) or a classifier, or MODEL:PRESET.")
    ],
    path: Annotated[Path, typer.Argument(help="A table, an image, a folder of images.")],
    out: Annotated[Path, typer.Option(help="FILE.parquet: id, source, label, vector.")],
    map: Annotated[Path | None, typer.Option("--map", help="FILE.png: all images on a plane, like beside like.")] = None,
    resize: Resize = False,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Every image as a vector: what the network's encoder makes of it."""
    from darklens import api, console

    content = api.embed(run, path, out, map=map, resize=resize, hdu=hdu_of(hdu), bands=bands, device=device, force=force)
    for what, why in content["skipped"]:
        console.say(f"skipped {what}: {why}")
    for line in content["noticed"]:
        console.say(line)
    if as_json:
        return console.show_json(content)
    images = "1 image as a vector" if content["images"] == 1 else f"{content['images']:,} images as vectors"
    console.say(f"{images} of {content['dimension']} numbers: {out}")
    if map is not None:
        console.say(f"their map: {map}")
    return None


@app.command()
def similar(
    run: Annotated[
        Path, typer.Argument(help="Run folder of an encoder (mae-arc, denoise-arc, ...) or a classifier, or MODEL:PRESET.")
    ],
    image: Annotated[Path, typer.Argument(help="The image.")],
    among: Annotated[Path, typer.Argument(help="A table, a folder of images, or what darklens embed wrote of them.")],
    top: Annotated[int, typer.Option(help="How many images to find.")] = 11,
    out: Annotated[Path | None, typer.Option(help="FILE.png: the image and those most like it.")] = None,
    resize: Resize = False,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """The images most like one image, as the network sees them."""
    from darklens import api, console

    content = api.similar(
        run, image, among, top=top, out=out, resize=resize, hdu=hdu_of(hdu), bands=bands, device=device, force=force
    )
    for what, why in content["skipped"]:
        console.say(f"skipped {what}: {why}")
    for line in content["noticed"]:
        console.say(line)
    if as_json:
        return console.show_json(content)
    several = len({row["source"] for row in content["neighbours"]}) > 1
    rows = [
        [f"{row['similarity']:.3f}", row["label"] or "", row["id"], *([row["source"]] if several else [])]
        for row in content["neighbours"]
    ]
    columns = ["similarity", "label", "id", *(["source"] if several else [])]
    console.table(f"most like {content['image']}, of {content['among']:,}", columns, rows)
    if out is not None:
        console.say(f"the picture: {out}")
    return None
