"""Commands about data on disk: import, cutouts, export, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Fill, Force, Hdu, Json, Key, fill_of, hdu_of, show

if TYPE_CHECKING:
    from darklens.data import ImportReport


@app.command("import")
def import_(
    path: Annotated[
        Path,
        typer.Argument(help="A DeepLense or challenge tree, .npy, .npz, FITS, NAME_{g,r}.fits; a folder; a catalogue."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    split: Annotated[str | None, typer.Option(help="Fractions train,val,test: 0.8,0.1,0.1; drawn by content.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    hdu: Hdu = None,
    bands: Bands = None,
    key: Key = None,
    label: Annotated[str | None, typer.Option(help="Class of all images.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resample every image, and bands of several grids, to N x N pixels.")] = None,
    fill: Fill = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import images into a table; says what was read, what was skipped, and why."""
    from darklens import console
    from darklens.data import import_path

    with console.progress_bar() as progress:
        report = import_path(
            path, out, split=split, seed=seed, hdu=hdu_of(hdu), bands=bands, key=key, label=label, resize=resize,
            fill=fill_of(fill), pixel_scale=pixel_scale, force=force,
            progress=lambda done, total: progress("importing", done, total),
        )  # fmt: skip
    return _show_report(report, as_json)


def _show_report(report: ImportReport, as_json: bool) -> None:
    from darklens import console

    if as_json:
        return console.show_json(report.as_dict())
    for line in report.lines():
        console.stdout.print(line, markup=False)
    return None


@app.command()
def cutouts(
    mosaics: Annotated[
        str, typer.Argument(metavar="MOSAIC[,MOSAIC...]", help="FITS, .fits.fz; one a band: g.fits,r.fits or field_{g,r,i}.fits.")
    ],
    catalogue: Annotated[
        Path, typer.Argument(help="CSV, Parquet or FITS table of positions; labels and numbers are carried along.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    size: Annotated[int, typer.Option(help="Pixels of a side.")] = 64,
    ra: Annotated[str | None, typer.Option(help="Column of the right ascension in degrees; ra by default.")] = None,
    dec: Annotated[str | None, typer.Option(help="Column of the declination in degrees; dec by default.")] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="Column of pixels of the first mosaic, from 1, with --y, for --ra and --dec.")
    ] = None,
    y: Annotated[str | None, typer.Option("--y", help="Row of pixels, from 1.")] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the mosaics' bands: g,r,i; by default from the files' names.")] = None,
    hdu: Hdu = None,
    blank: Annotated[float | None, typer.Option(help="Value that stands for a missing pixel, for example 0.")] = None,
    fill: Fill = None,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Keep cutouts that lie partly off a mosaic.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Cut the objects of a catalogue out of mosaics of any size, by position; says which rows could not be cut, and why."""
    from darklens import console
    from darklens.data import cutouts as cut
    from darklens.data.mosaic import listed

    with console.progress_bar() as progress:
        report = cut(
            listed(mosaics), catalogue, out, size=size, ra=ra, dec=dec, x=x, y=y, bands=bands, hdu=hdu_of(hdu), blank=blank,
            fill=fill_of(fill), allow_partial=allow_partial, force=force,
            progress=lambda done, total: progress("cutting", done, total),
        )  # fmt: skip
    return _show_report(report, as_json)


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
    bands: Bands = None,
    key: Key = None,
    resize: Annotated[int | None, typer.Option(help="Resample bands of several grids to N x N pixels.")] = None,
    as_json: Json = False,
) -> None:
    """Show counts, ranges and labels, and draw a gallery."""
    from darklens.data import read, summary
    from darklens.evaluate.figure_set import save_gallery

    extension, size = hdu_of(hdu), (resize, resize) if resize else None
    content = summary(path, hdu=extension, bands=bands, key=key, size=size)
    picture = figure or Path(f"{path.resolve().stem}-gallery.png")
    about = content.get("table", {})
    records = read(path, hdu=extension, bands=bands, key=key, size=size, on_skip=lambda *_: None)
    save_gallery(picture, records, unit=about.get("flux_unit") or "", pixel_scale=about.get("pixel_scale"))
    content["gallery"] = str(picture)
    return show(content, as_json)
