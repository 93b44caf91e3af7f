"""Import anything that holds images into a table, and say what was found and what was left out and why.

Two passes: the first looks at headers alone and learns shapes, classes and truth columns; the second reads. A table
has one shape, so the most common one goes in and the others are left out, unless they are resized.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklens.data.folders import MARKER, File, Skip, class_order
from darklens.data.manifest import MANIFEST
from darklens.data.options import Options
from darklens.data.reading import ahead, files_of, probe_file, read
from darklens.data.record import Record
from darklens.data.resize import resize_image
from darklens.data.schema import RESERVED
from darklens.data.splits import GROUP, fractions_of, split_key, split_of
from darklens.data.stack import Shaped
from darklens.data.table import Table
from darklens.data.tally import Tally
from darklens.data.writer import TableWriter
from darklens.errors import InputError
from darklens.files import read_json
from darklens.units import UNITS

Size = tuple[int, int] | None


@dataclass
class ImportReport:
    """What an import found.

    Args:
        source: what was read.
        out: the table that was written.
        shape: shape of its images: bands, y, x.
        tally: counts over what went in.
        skipped: path and reason of everything that was left out.
    """

    source: str
    out: str
    shape: tuple[int, ...]
    tally: Tally = field(default_factory=Tally)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def skip(self, path: Path, reason: str) -> None:
        """Note that something is left out."""
        self.skipped.append((str(path), reason))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        skipped = [{"path": path, "reason": reason} for path, reason in self.skipped]
        head = {"source": self.source, "out": self.out, "shape": list(self.shape)}
        return head | self.tally.as_dict() | {"skipped": skipped}

    def lines(self, most: int = 20) -> list[str]:
        """Return the report as lines to print, with at most so many skipped files."""
        lines = [f"{self.source} -> {self.out}", *self.tally.lines(), f"skipped     {len(self.skipped)}"]
        lines += [f"  {path} {reason}" for path, reason in self.skipped[:most]]
        return lines + ([f"  ... and {len(self.skipped) - most} more"] if len(self.skipped) > most else [])


@dataclass
class _Plan:
    """What the first pass learns: how many images of which shape and class, truth columns, pixel scales, units."""

    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    labels: dict[tuple[int, ...], set[str]] = field(default_factory=dict)
    truth: dict[str, str] = field(default_factory=dict)
    scales: set[float | None] = field(default_factory=set)
    flux_units: set[str | None] = field(default_factory=set)
    classes: list[str] | None = None
    bands: list[str] | None = None

    def add(self, file: File, found: Shaped) -> None:
        self.shapes[found.shape] += found.count
        self.labels.setdefault(found.shape, set()).update(() if file.label is None else {file.label})
        self.truth |= {name: UNITS.get(name, "") for name in found.truth}
        self.scales.add(found.pixel_scale)
        self.flux_units.add(found.flux_unit)
        self.bands = self.bands or list(found.bands) or None

    def shape(self, size: Size) -> tuple[int, ...]:
        """Return the most common shape, or the most common number of bands with the size that is asked for."""
        if size is None:
            return self.shapes.most_common(1)[0][0]
        bands: Counter[int] = Counter()
        for shape, n in self.shapes.items():
            bands[shape[0]] += n
        return (bands.most_common(1)[0][0], *size)

    def _fitting(self, shape: tuple[int, ...], resized: bool) -> list[tuple[int, ...]]:
        return [s for s in self.shapes if s == shape or (resized and s[0] == shape[0])]

    def total(self, shape: tuple[int, ...], resized: bool) -> int:
        return sum(self.shapes[s] for s in self._fitting(shape, resized))

    def classes_of(self, shape: tuple[int, ...], resized: bool) -> list[str]:
        fitting = (self.labels.get(s, ()) for s in self._fitting(shape, resized))
        return self.classes if self.classes is not None else class_order(set().union(*fitting))

    @property
    def pixel_scale(self) -> float | None:
        return next(iter(self.scales)) if len(self.scales) == 1 else None

    @property
    def flux_unit(self) -> str | None:
        return next(iter(self.flux_units)) if len(self.flux_units) == 1 else None


def import_path(
    path: str | Path,
    out: str | Path,
    *,
    split: str | Sequence[float] | Mapping[str, float] | None = None,
    seed: int = 0,
    hdu: int | str | Sequence[int | str] | None = None,
    key: str | None = None,
    layout: str | None = None,
    fill: float | str | None = None,
    bands: str | Sequence[str] | None = None,
    label: str | None = None,
    resize: int | tuple[int, int] | None = None,
    pixel_scale: float | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import images into a table.

    Args:
        path: see `darklens.data.read`.
        out: folder of the table; an import that was interrupted is continued.
        split: fractions for train, val, test, drawn by content hash; by default what the folders say.
        seed: of the split.
        hdu: see `Options`, as for `key`, `layout`, `fill` and `bands`.
        key: array of `.npz` files.
        layout: what the leading axis of 3-D arrays is.
        fill: what to put where a pixel is not finite or masked.
        bands: the bands in the order that is wanted, `g,r,i`.
        label: class of all images.
        resize: resample every image to this size, keeping its flux; by default the most common shape goes in.
        pixel_scale: arcsec a pixel; by default what FITS headers say.
        force: write over what is in `out`.
        workers: number of threads.
        progress: called with images done and images expected.

    Returns:
        What was found, and what was left out and why.

    Raises:
        InputError: nothing can be read, or `out` holds something else.
        WorkError: the disk is full; what is already safe is kept.
    """
    size = (resize, resize) if isinstance(resize, int) else resize
    path, out, options = Path(path), Path(out), Options(hdu, key, layout, fill, bands, size)
    if size is not None and min(size) < 1:
        raise InputError(f"--resize {min(size)} leaves no pixel: give at least 1")
    if path.resolve() == out.resolve():
        raise InputError(f"{out} cannot be imported into itself: choose another folder")
    fractions = fractions_of(split) if split is not None else None
    plan = _plan(path, options, workers)
    if not plan.shapes:
        next(read(path, workers=1, **options.given()))  # raises, and says why nothing can be read
    shape = plan.shape(size)
    report = ImportReport(str(path), str(out), shape)
    given = {k: v for k, v in options.given().items() if k != "size"} | ({"resize": list(size)} if size else {})
    manifest = {
        "source": str(path),
        "options": given,
        "split": fractions,
        "seed": seed,
        "pixel_scale": pixel_scale or (None if size else plan.pixel_scale),
        "flux_unit": plan.flux_unit,
        "units": plan.truth,
        "band_names": plan.bands,
    } | _made_up(path)
    classes = [label] if label is not None else plan.classes_of(shape, size is not None)
    with TableWriter(out, shape=shape, classes=classes, manifest=manifest, force=force) as writer:
        found = read(path, label=label, on_skip=report.skip, workers=workers, **options.given())
        records: Iterator[Record] = (_placed(r, fractions, seed) for r in _fitting(found, shape, size, report.skip))
        records = counted(records, report.tally, plan.total(shape, size is not None), progress)
        pass_over(records, writer)
        if not writer.complete:
            writer.write(records)
    return report


def _made_up(path: Path) -> dict[str, Any]:
    """Return the mark of images that a network made up, of a table or of the files that it was exported to; else nothing."""
    for name in (MANIFEST, MARKER):
        if (path / name).is_file() and (about := read_json(path / name)).get("synthetic"):
            return {"synthetic": True, "source": about.get("source")}
    return {}


def _fitting(records: Iterator[Record], shape: tuple[int, ...], size: Size, skip: Skip) -> Iterator[Record]:
    for record in records:
        if size is not None and len(record.image) == shape[0]:
            record = record.with_(image=resize_image(record.image, size))
        if record.image.shape == shape:
            yield record
        else:
            remedy = ": choose with --bands" if len(record.image) != shape[0] else "" if size else ": give --resize"
            skip(Path(record.source), f"has an image of shape {record.image.shape}, the table has {shape}{remedy}")


def _placed(record: Record, fractions: Mapping[str, float] | None, seed: int) -> Record:
    if fractions is None:
        return record
    return record.with_(split=split_of(split_key(record.content_hash, record.truth.get(GROUP)), fractions, seed))


def counted(records: Iterator[Record], tally: Tally, total: int, progress: Callable[[int, int], None] | None) -> Iterator[Record]:
    """Pass records on, counting them."""
    for record in records:
        tally.add(record)
        if progress is not None:
            progress(tally.images, total)
        yield record


def pass_over(records: Iterator[Record], writer: TableWriter) -> None:
    """Pass over the rows that an interrupted import has already written, checking that they are the same."""
    done = Table.open(writer.path, allow_incomplete=True).ids if writer.rows_done else ()
    for row, id_ in enumerate(done):
        record = next(records, None)
        if record is None or record.id != id_:
            raise InputError(f"{writer.path} was begun from other files (row {row} was {id_}): give --force to start anew")
    if writer.complete:
        for _ in records:
            raise InputError(f"{writer.path} was imported before there were more files: give --force to start anew")


def _plan(path: Path, options: Options, workers: int | None) -> _Plan:
    if os.path.isfile(path / MANIFEST):
        table = Table.open(path)
        truth = {name: table.units(name) for name in table.columns if name not in RESERVED}
        bands = options.bands or table.manifest.get("band_names")
        shape = (len(options.bands), *table.shape[1:]) if options.bands else table.shape
        unit = table.manifest.get("flux_unit")
        return _Plan(Counter({shape: len(table)}), {}, truth, {table.pixel_scale}, {unit}, table.classes, bands and list(bands))
    plan = _Plan()
    files = files_of(path, options, lambda path, reason: None)
    for file, future in ahead(lambda file: probe_file(file, options), files, workers):
        with suppress(InputError, OSError):  # the second pass meets it again and reports it
            plan.add(file, future.result())
    return plan
