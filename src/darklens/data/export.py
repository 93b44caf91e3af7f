"""Export a table as files for other programs: one `.npy` or FITS file an image, folders for the classes.

    OUT/
      darklens-export.json                     what was exported, and how; units of the truth columns
      truth.csv                                file, id, label, split and the truth columns of every image
      {class}/{class}_sim_{row}.npy            (y, x), as the published DeepLenseSim sets lie on disk,
      {split}/{class}/{class}_sim_{row}.npy    where a row has a split

Files are plain float32 arrays, never pickles (the published `axion` files are). An image without a class lies in a folder
`images`, which `darklens import` does not take for a class. Everything is written into `OUT.tmp`, which gets its name
when it is whole; an export that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.folders import MARKER, SPLITS, TRUTH, place
from darklens.data.schema import RESERVED
from darklens.data.table import Table
from darklens.errors import InputError, unknown
from darklens.files import TEMPORARY, plain, read_json, unwritable, write_atomic, write_json

LAYOUTS = ("deeplense", "fits")
UNLABELLED = "images"
AT_ONCE = 256

Encode = Callable[[dict[str, Any], int], bytes]


@dataclass
class ExportReport:
    """What an export wrote.

    Args:
        out: its folder.
        layout: one of `LAYOUTS`.
        images: number of images.
        written: those that this call wrote; the others were there from an interrupted call.
        folders: folder below `out` -> number of images.
    """

    out: str
    layout: str
    images: int = 0
    written: int = 0
    folders: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {**vars(self), "folders": dict(sorted(self.folders.items()))}


def export_table(
    table: Table,
    out: str | Path,
    *,
    layout: str = "deeplense",
    band_axis: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write a table as a tree of files.

    Args:
        table: n images.
        out: a folder that is not there, is empty, or holds this very export, whole or in part.
        layout: `deeplense` for `.npy` files, `fits` for FITS files with scale, unit, class and truth in the header.
        band_axis: `.npy` images of one band as `(1, y, x)`, as in the DeepLense common test; otherwise `(y, x)`, as in
            Models I to III. Several bands are always `(bands, y, x)`.
        force: replace another export.
        progress: called with images done and n.

    Returns:
        What was written where.

    Raises:
        InputError: unknown layout, a class that cannot be a folder, or `out` holds something else.
        WorkError: the disk is full; what is written stays, and the same call goes on from there.
    """
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    out = Path(out)
    _check_names(table)
    marker = {
        "layout": layout,
        "band_axis": band_axis,
        "images": len(table),
        "checksum": table.checksum,
        "classes": table.classes,
        "pixel_scale": table.pixel_scale,
        "flux_unit": table.manifest.get("flux_unit"),
        "units": {name: table.units(name) for name in _truth(table)},
    } | ({"synthetic": True, "source": table.manifest.get("source")} if table.manifest.get("synthetic") else {})
    report = ExportReport(str(out), layout, len(table))
    temporary = out.with_name(out.name + TEMPORARY)
    suffix, encode = (".fits", _fits_of(table)) if layout == "fits" else (".npy", _npy_of(band_axis))
    try:
        if _there(out, marker, force):
            report.folders.update(str(Path(name).parent) for name in _names(table, suffix))
            return report
        _there(temporary, marker, force)
        write_json(temporary / MARKER, marker)
        _write_images(table, temporary, suffix, encode, report, progress or (lambda done, total: None))
        write_atomic(temporary / TRUTH, _csv(table, suffix))
        _finish(temporary, out)
    except OSError as error:
        raise unwritable(out, error) from error
    return report


def _check_names(table: Table) -> None:
    for label in {str(label) for label in table.labels if label is not None}:
        simple = label == os.path.basename(label) and label not in ("", "..") and not label.startswith(".") and label.isprintable()
        if not simple or place((label,)) != (label, None):
            raise InputError(f"class {label!r} cannot be the name of a folder that is read back as a class: rename it")
    for split in {str(split) for split in table.splits if split is not None}:
        if SPLITS.get(split) != split:
            raise InputError(f"split {split!r} cannot be the name of a folder that is read back as a split: use train, val or test")


def _there(folder: Path, marker: dict[str, Any], force: bool) -> bool:
    """Tell whether a folder holds this export already; refuse it if it holds something else."""
    if not folder.exists() and not folder.is_symlink():
        return False
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder")
    if all(path.name == MARKER + TEMPORARY for path in folder.iterdir()):
        return False
    if not (folder / MARKER).is_file():
        raise InputError(f"{folder} is not empty and holds no export: choose another folder")
    if read_json(folder / MARKER) == plain(marker):
        return True
    if not force:
        raise InputError(f"{folder} holds another export: choose another folder, or replace it by --force")
    shutil.rmtree(folder)
    return False


def _finish(temporary: Path, out: Path) -> None:
    """Give a whole export its name; one sync for all of its files, for one each would cost more than writing them."""
    if hasattr(os, "sync"):
        os.sync()
    if out.is_dir():
        out.rmdir()
    os.replace(temporary, out)


def _write_images(
    table: Table, folder: Path, suffix: str, encode: Encode, report: ExportReport, progress: Callable[[int, int], None]
) -> None:
    names = _names(table, suffix)
    done = 0
    for batch in table.batches(AT_ONCE):
        for i in range(len(batch["id"])):
            path = folder / next(names)
            report.folders[str(path.parent.relative_to(folder))] += 1
            content = encode(batch, i)
            if not path.is_file() or path.stat().st_size != len(content):
                report.written += 1
                _write(path, content)
        done += len(batch["id"])
        progress(done, len(table))


def _write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it: one with its name is whole."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        temporary.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
    os.replace(temporary, path)


def _names(table: Table, suffix: str) -> Iterator[str]:
    """Iterate over the path of every row, relative to the root."""
    for row, (label, split) in enumerate(zip(table.labels, table.splits, strict=True)):
        folder = label or UNLABELLED
        name = f"{folder}/{label or 'image'}_sim_{row:08d}{suffix}"
        yield f"{split}/{name}" if split else name


def _truth(table: Table) -> list[str]:
    return [name for name in table.columns if name not in RESERVED]


def _csv(table: Table, suffix: str) -> str:
    """Return the truths, numbers in full precision, nothing where a value is unknown."""
    truth = _truth(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "id", "label", "split", *truth])
    columns: Iterable = (table.column(name) for name in ("id", "label", "split", *truth))
    for file, *row in zip(_names(table, suffix), *columns, strict=True):
        writer.writerow([file, *("" if v is None or (isinstance(v, float) and np.isnan(v)) else v for v in row)])
    return text.getvalue()


def _npy_of(band_axis: bool) -> Encode:
    def encode(batch: dict[str, Any], i: int) -> bytes:
        image = batch["image"][i]
        content = io.BytesIO()
        np.save(content, np.ascontiguousarray(image if band_axis or len(image) > 1 else image[0]), allow_pickle=False)
        return content.getvalue()

    return encode


def _fits_of(table: Table) -> Encode:
    """Return what makes a FITS file of a row; one band is a plane `(y, x)`, several are a cube."""
    from astropy.io import fits

    units = {name: table.units(name) for name in _truth(table)}

    def encode(batch: dict[str, Any], i: int) -> bytes:
        image = batch["image"][i]
        hdu = fits.PrimaryHDU(image[0] if len(image) == 1 else image)
        for key, value, comment in _cards(table, batch, i, units):
            hdu.header[key] = (value, comment)
        content = io.BytesIO()
        hdu.writeto(content, output_verify="ignore")  # a third of the time, for cards that are right by construction
        return content.getvalue()

    return encode


def _cards(table: Table, batch: dict[str, Any], i: int, units: dict[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Iterate over the cards of a header: name, value, comment. FITS has no NaN, so an unknown truth has no card."""
    scale, unit = table.pixel_scale, table.manifest.get("flux_unit")
    yield "EXTNAME", "IMAGE", ""
    if table.manifest.get("synthetic"):
        yield "SYNTHET", True, "made up by a network"
    if unit:
        yield "BUNIT", _ascii(unit), "per pixel"
    if scale:
        yield "PIXSCALE", scale, "arcsec a pixel"
        for axis, length in ((1, table.shape[2]), (2, table.shape[1])):
            yield f"CTYPE{axis}", "LINEAR", "offset from the centre of the field"
            yield f"CUNIT{axis}", "arcsec", ""
            yield f"CRPIX{axis}", (length + 1) / 2, ""
            yield f"CRVAL{axis}", 0.0, ""
            yield f"CDELT{axis}", scale, ""
    for key, name in (("OBJECT", "id"), ("LABEL", "label"), ("SPLIT", "split")):
        if batch[name][i] is not None:
            yield key, _ascii(batch[name][i]), ""
    for name, value in ((name, float(batch[name][i])) for name in units):
        if np.isfinite(value):
            yield f"HIERARCH TRUTH {name}", value, _ascii(units[name])


def _ascii(text: str) -> str:
    """Return text as a FITS header can hold it."""
    return text.encode("ascii", "replace").decode()
