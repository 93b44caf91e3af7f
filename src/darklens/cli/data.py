"""Commands about data on disk: import, export, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Force, Hdu, Json, Key, hdu_of, show


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A DeepLense tree, .npy, .npz, FITS, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    split: Annotated[str | None, typer.Option(help="Fractions train,val,test: 0.8,0.1,0.1; drawn by content.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    hdu: Hdu = None,
    key: Key = None,
    label: Annotated[str | None, typer.Option(help="Class of all images.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resample every image to N x N pixels.")] = None,
    fill: Annotated[float | None, typer.Option(help="Value for pixels that are not finite.")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import images into a table; says what was read, what was skipped, and why."""
    from darklens import console
    from darklens.data import import_path

    with console.progress_bar() as progress:
        report = import_path(
            path, out, split=split, seed=seed, hdu=hdu_of(hdu), key=key, label=label, resize=resize, fill=fill,
            pixel_scale=pixel_scale, force=force, progress=lambda done, total: progress("importing", done, total),
        )  # fmt: skip
    if as_json:
        return console.show_json(report.as_dict())
    for line in report.lines():
        console.stdout.print(line, markup=False)
    return None


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="A run, or MODEL:PRESET; or a table, or any images that darklens reads.")],
    out: Annotated[Path, typer.Option(help="Folder; FILE.onnx for onnx.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", "--layout", help="Of a run: onnx or hub-folder; of images: deeplense (.npy files, the default) or fits."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Images to check an ONNX file with; the run's test images by default.")] = None,
    band_axis: Annotated[bool, typer.Option("--band-axis", help="deeplense images of one band as (1, y, x), not (y, x).")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a run for other programs (ONNX, a folder for a model hub), or images as a tree of files with the truth as CSV."""
    from darklens import api, console

    with console.progress_bar() as progress:
        content = api.export(
            path, out, to=to, data=data, band_axis=band_axis, force=force,
            progress=lambda done, total: progress("exporting", done, total),
        )  # fmt: skip
    return show(content, as_json)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A table, or anything that darklens reads.")],
    figure: Annotated[Path | None, typer.Option(help="Where to draw the gallery; NAME-gallery.png by default.")] = None,
    hdu: Hdu = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show counts, ranges and labels, and draw a gallery."""
    from darklens.data import read, summary
    from darklens.evaluate.figure_set import save_gallery

    content = summary(path, hdu=hdu_of(hdu), key=key)
    picture = figure or Path(f"{path.resolve().stem}-gallery.png")
    about = content.get("table", {})
    records = read(path, hdu=hdu_of(hdu), key=key, on_skip=lambda *_: None)
    save_gallery(picture, records, unit=about.get("flux_unit") or "", pixel_scale=about.get("pixel_scale"))
    content["gallery"] = str(picture)
    return show(content, as_json)
