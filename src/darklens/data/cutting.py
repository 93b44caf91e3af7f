"""A table of cutouts of a mosaic, one for every position of a catalogue.

| position | what happens |
|---|---|
| its square lies on the mosaic | a row; `coverage` is the share of its pixels with a finite number, in the band that has least |
| part of the square lies off the mosaic | skipped and named, or (`allow_partial`) a row with what is there |
| more than half of a band is missing, or all of it is zero | skipped and named |
| off the mosaic | skipped and named |

Missing pixels are filled like those of any image, with the median of the frame (`darklens.data.record.border_level`), and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darklens.data.catalogue import DEC, RA, Catalogue
from darklens.data.folders import class_order
from darklens.data.importing import ImportReport, counted, pass_over
from darklens.data.mosaic import Mosaic, open_mosaics
from darklens.data.options import Options
from darklens.data.record import Record, as_image
from darklens.data.writer import TableWriter
from darklens.errors import InputError
from darklens.units import UNITS

SIZE_AT_MOST = 4096


@dataclass(frozen=True)
class Columns:
    """The columns of a catalogue that say where its objects are.

    Args:
        ra: right ascension in degrees; by default a column that is called so.
        dec: declination in degrees.
        x: column of the first mosaic's pixels, counted from 1 as in FITS and SExtractor; with `y`, in place of `ra` and `dec`.
        y: row of the first mosaic's pixels, counted from 1.
    """

    ra: str | None = None
    dec: str | None = None
    x: str | None = None
    y: str | None = None


@dataclass(frozen=True, eq=False)
class _Positions:
    """Where the objects are: degrees, and pixels counted from 0, `(mosaics, rows)`."""

    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray


def cutouts(
    mosaics: str | Path | Sequence[str | Path],
    catalogue: str | Path,
    out: str | Path,
    *,
    size: int = 64,
    ra: str | None = None,
    dec: str | None = None,
    x: str | None = None,
    y: str | None = None,
    bands: str | Sequence[str] | None = None,
    hdu: int | str | None = None,
    blank: float | None = None,
    fill: float | str | None = None,
    allow_partial: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Cut the objects of a catalogue out of a mosaic, or of one mosaic a band, into a table.

    Args:
        mosaics: FITS files of one field, plain or `.fz`, in the order of the bands.
        catalogue: CSV, Parquet or FITS table; `id`, `label`, `split` and every column of numbers are carried along.
        out: folder of the table; a call that was interrupted is continued by the same call.
        size: pixels of a side.
        ra: column of the right ascension in degrees; found by its name by default, as `dec`.
        dec: column of the declination in degrees.
        x: column of pixels of the first mosaic, counted from 1, with `y` in place of `ra` and `dec`.
        y: row of pixels, counted from 1.
        bands: names of the bands; by default what the files are called by.
        hdu: extension of the mosaics.
        blank: value that stands for a missing pixel, such as 0.
        fill: what to put in place of a missing pixel, see `Options`.
        allow_partial: keep squares that lie partly off the mosaic.
        force: replace what is in `out`.
        progress: called with rows written and rows of the catalogue.

    Returns:
        What was written, and the rows that were left out and why. The table has the truth columns `ra`, `dec` (deg) and `coverage`.

    Raises:
        InputError: no mosaic, no catalogue, no positions in it, none on the mosaic, or `out` holds something else.
        WorkError: the disk is full; what is already safe is kept.
    """
    if not 1 <= size <= SIZE_AT_MOST:
        raise InputError(f"cutouts of {size} pixels are impossible: give a size of 1 to {SIZE_AT_MOST}")
    options = Options(bands=bands, fill=fill, mask=blank)
    paths = [Path(m) for m in ([mosaics] if isinstance(mosaics, str | Path) else mosaics)]
    found, rows = open_mosaics(paths, hdu=hdu, bands=options.bands), Catalogue.open(catalogue)
    where = _positions(rows, found, Columns(ra, dec, x, y))
    report = ImportReport(str(catalogue), str(out), (len(found), size, size))
    truth = [name for name in rows.truth if name not in ("ra", "dec", "coverage")]
    columns = [*(("ra", "dec") if np.isfinite(where.ra).any() else ()), "coverage", *truth]
    manifest = {
        "source": ", ".join(map(str, paths)),
        "options": options.given() | {"catalogue": str(catalogue), "hdu": hdu, "allow_partial": allow_partial},
        "pixel_scale": found[0].pixel_scale,
        "flux_unit": found[0].header.get("BUNIT"),
        "units": {name: UNITS.get(name, "") for name in columns},
        "band_names": [mosaic.band for mosaic in found],
    }
    classes = class_order(label for label in rows.labels if label is not None)
    with TableWriter(out, shape=report.shape, classes=classes, manifest=manifest, force=force) as writer:
        made = _records(found, rows, where, size, options, allow_partial, lambda why: report.skip(Path(catalogue), why))
        records = counted(made, report.tally, len(rows), progress)
        pass_over(records, writer)
        if not writer.complete:
            writer.write(records)
        if not report.tally.images:
            raise InputError(f"{catalogue} has no position whose cutout can be made ({report.skipped[0][1]}): give another mosaic")
    return report


def _positions(rows: Catalogue, mosaics: Sequence[Mosaic], columns: Columns) -> _Positions:
    """Find the positions in the catalogue's columns, as pixels of every mosaic.

    Raises:
        InputError: there are none, or the mosaics' headers do not say where they are.
    """
    first = mosaics[0]
    if (columns.x is None) != (columns.y is None) or (columns.ra is None) != (columns.dec is None):
        raise InputError("a position needs two columns: give --ra with --dec, or --x with --y")
    if columns.x is not None and columns.y is not None:
        x, y = (rows.numbers(rows.named(name)) - 1 for name in (columns.x, columns.y))
        ra, dec = first.wcs.all_pix2world(x, y, 0) if first.pixel_scale else np.full((2, len(x)), np.nan)
        pixels = [(x, y), *(_same_pixels(first, m, x, y) if not m.pixel_scale else m.pixel_of(ra, dec) for m in mosaics[1:])]
    else:
        names = [name for name in (columns.ra or rows.find(RA), columns.dec or rows.find(DEC)) if name is not None]
        if len(names) < 2:
            listed = ", ".join(rows.table.column_names[:12])
            raise InputError(f"{rows.path} has no columns ra and dec (it has {listed}): name them, --ra and --dec or --x and --y")
        ra, dec = (rows.numbers(rows.named(name)) for name in names)
        if (np.abs(dec) > 90).any() or (np.abs(ra) > 360).any():
            row = int(np.argmax((np.abs(dec) > 90) | (np.abs(ra) > 360)))
            raise InputError(f"{rows.path} has position {ra[row]:g}, {dec[row]:g} in row {row + 1}: give degrees")
        pixels = [mosaic.pixel_of(ra, dec) for mosaic in mosaics]
    return _Positions(ra, dec, np.array([p[0] for p in pixels]), np.array([p[1] for p in pixels]))


def _same_pixels(first: Mosaic, mosaic: Mosaic, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mosaic.shape != first.shape:
        raise InputError(f"{mosaic.path} has no celestial coordinates and another size than {first.path}: give mosaics of one grid")
    return x, y


def _records(
    mosaics: Sequence[Mosaic],
    rows: Catalogue,
    where: _Positions,
    size: int,
    options: Options,
    allow_partial: bool,
    skip: Callable[[str], None],
) -> Iterator[Record]:
    """Cut every row, in the order of the catalogue; say of the others why not."""
    seen: set[str] = set()
    splits, digits = rows.splits, len(str(len(rows)))
    for row in range(len(rows)):
        id_ = rows.ids[row] or f"row{row + 1:0{digits}d}"
        name = f"row {row + 1} ({id_})"
        if id_ in seen:
            skip(f"{name} has the id of an earlier row: give every object an id of its own")
            continue
        seen.add(id_)
        try:
            image, about, coverage = _cut(mosaics, where, row, size, options, allow_partial, name)
        except InputError as error:
            skip(str(error))
            continue
        truth = rows.truth_of(row) | {"ra": where.ra[row], "dec": where.dec[row], "coverage": coverage}
        truth = {key: float(value) for key, value in truth.items() if np.isfinite(value)}
        yield Record(id_, image, rows.labels[row], truth, str(mosaics[0].path), splits[row], about)


def _cut(
    mosaics: Sequence[Mosaic], where: _Positions, row: int, size: int, options: Options, allow_partial: bool, name: str
) -> tuple[np.ndarray, dict, float]:
    """Cut one row out of every mosaic.

    Raises:
        InputError: it lies off one of them, or too little of it is there.
    """
    planes, coverage = [], 1.0
    for k, mosaic in enumerate(mosaics):
        x, y = where.x[k, row], where.y[k, row]
        plane, share = mosaic.cut(x, y, size) if np.isfinite(x) and np.isfinite(y) else (None, 0.0)
        if plane is None or share == 0:
            raise InputError(f"{name} lies off {mosaic.path.name}{_at(where, row)}: leave it out, or give the mosaic that has it")
        if share < 1 and not allow_partial:
            raise InputError(f"{name} lies with {1 - share:.1%} of its pixels off {mosaic.path.name}: --allow-partial keeps it")
        if not np.nan_to_num(plane).any():
            raise InputError(f"{name} has nothing but zeros in band {mosaic.band}: leave it out, nothing was observed there")
        missing = np.isnan(plane) if options.mask is None else np.isnan(plane) | (plane == np.float32(options.mask))
        coverage = min(coverage, 1 - float(missing.mean()))
        planes.append(plane)
    image, about = as_image(np.stack(planes), name, options.fill, options.mask, options.largest)
    return image, about | {"bands": [mosaic.band for mosaic in mosaics]}, coverage


def _at(where: _Positions, row: int) -> str:
    ra, dec = where.ra[row], where.dec[row]
    return f" at ra {ra:.5f}, dec {dec:.5f}" if np.isfinite(ra) and np.isfinite(dec) else ""
