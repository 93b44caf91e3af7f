"""Read catalogues: CSV, Parquet or FITS tables, a row an object, and those that list image files.

Columns are found by their names, whatever their case: `path`, `file` or `filename`; `id`; `label`, `class` or `is_lens` (0 or 1);
`split`; `ra` and `dec` in degrees. Every other column of numbers is a truth. Lines at the top of a CSV that begin with `#` are
passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from darklens.data.bands import bands_of_pattern, common_name, expand
from darklens.data.fits import all_read
from darklens.data.fits_counts import check_counts_of
from darklens.data.folders import SPLITS, File, Skip, stem
from darklens.data.schema import RESERVED
from darklens.errors import InputError, unknown
from darklens.files import unreadable

_UNIT = re.compile(r"\s*(\[[^]]*\]|\([^)]*\))$")
TEXTS = (".csv", ".tsv")
TABLES = (".fits", ".fit", ".fits.gz")
SUFFIXES = (*TEXTS, ".parquet", *TABLES)
PATHS = ("path", "file", "filename", "file_name", "filepath")
IDS = ("id", "object_id", "objid", "name", "source_id")
LABELS = ("label", "class", "is_lens")
RA = ("ra", "right_ascension", "alpha_j2000", "raj2000", "ra_deg")
DEC = ("dec", "decl", "declination", "delta_j2000", "dej2000", "decj2000", "dec_deg")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The columns of a catalogue.

    Args:
        path: where it was read.
        table: its columns.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def open(cls, path: str | Path) -> Catalogue:
        """Read a catalogue.

        Raises:
            InputError: no such file, no catalogue, damaged, or without a row.
        """
        path = Path(path)
        try:
            table = _read(path)
            names = table.column_names  # Arrow decodes them only now
        except InputError:
            raise
        except OSError as error:
            if error.errno:
                raise unreadable(path, error) from error
            raise InputError(f"{path} is truncated or no catalogue ({_first_line(error)}): write it again") from error
        except Exception as error:  # Arrow and astropy meet damage with errors of every kind
            raise InputError(f"{path} is truncated or no catalogue ({_first_line(error)}): write it again") from error
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"{path} has two columns {twice!r}: give each a name of its own")
        if not len(table):
            raise InputError(f"{path} has no row: give a catalogue of at least one object")
        return cls(path, table)

    def find(self, names: tuple[str, ...]) -> str | None:
        """Return the first column that has one of these names, whatever its case and a unit in brackets behind it, or None."""
        lowered = {_UNIT.sub("", name).lower(): name for name in reversed(self.table.column_names)}
        return next((lowered[name] for name in names if name in lowered), None)

    def named(self, name: str) -> str:
        """Return the column of a name that the user gave, whatever its case.

        Raises:
            InputError: there is none.
        """
        found = name if name in self.table.column_names else self.find((name.lower(),))
        if found is None:
            raise unknown(f"column of {self.path}", name, self.table.column_names)
        return found

    def texts(self, name: str) -> list[str | None]:
        """Return a column as text, None where it is empty."""
        values = self.table[name]
        if pa.types.is_floating(values.type):  # a number of an object that was stored as 17.0 is called 17
            return [None if v is None or v != v else f"{v:.0f}" if float(v).is_integer() else str(v) for v in values.to_pylist()]
        return [str(v).strip() or None if v is not None else None for v in values.to_pylist()]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64, NaN where it is empty.

        Raises:
            InputError: it holds no numbers.
        """
        if not self._is_number(name):
            raise InputError(
                f"column {name!r} of {self.path} holds {self.table[name].type}, not numbers: choose another, or "
                "write numbers in it (positions in decimal degrees)"
            )
        return np.array([np.nan if v is None else float(v) for v in self.table[name].to_pylist()], dtype=np.float64)

    def _is_number(self, name: str) -> bool:
        kind = self.table[name].type
        return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)

    @cached_property
    def ids(self) -> list[str | None]:
        """What the objects are called; None where the catalogue does not say."""
        name = self.find(IDS)
        return [None] * len(self) if name is None else self.texts(name)

    @cached_property
    def labels(self) -> list[str | None]:
        """Classes; a column `is_lens` says `lens` or `nonlens`."""
        name = self.find(LABELS)
        if name is None:
            return [None] * len(self)
        if name.lower() != "is_lens":
            return self.texts(name)
        truths = {"1": "lens", "true": "lens", "0": "nonlens", "false": "nonlens"}
        return [truths.get(value.lower()) if value else None for value in self.texts(name)]

    @cached_property
    def splits(self) -> list[str | None]:
        """`train`, `val`, `test` or None.

        Raises:
            InputError: another word.
        """
        name = self.find(("split",))
        values = [None] * len(self) if name is None else self.texts(name)
        if wrong := next((value for value in values if value and value.lower() not in SPLITS), None):
            raise unknown(f"split of {self.path}", wrong, ("train", "val", "test"))
        return [SPLITS[value.lower()] if value else None for value in values]

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """Every column of numbers that is nothing else; positions are called `ra` and `dec`."""
        own = {self.find(PATHS), self.find(IDS), self.find(LABELS), self.find(("split",))}
        renamed = {self.find(RA): "ra", self.find(DEC): "dec"}
        names = [name for name in self.table.column_names if name and name not in own and self._is_number(name)]
        return {n: self.numbers(name) for name in names if (n := renamed.get(name, name)) not in RESERVED}

    def truth_of(self, row: int) -> dict[str, float]:
        """Return what is known of one object."""
        return {name: float(values[row]) for name, values in self.truth.items() if np.isfinite(values[row])}


def is_catalogue(path: Path) -> bool:
    """Say whether a file is a catalogue by its suffix; a FITS file is taken for an image here."""
    return path.name.lower().endswith((*TEXTS, ".parquet"))


def catalogue_files(path: Path, bands: Sequence[str] | None, on_skip: Skip) -> Iterator[File]:
    """Iterate over the image files that a catalogue lists, in its order.

    A relative path starts at the catalogue's folder. A path with braces, `NAME_{g,r,i}.fits`, has one file a band.

    Args:
        path: the catalogue.
        bands: the bands that are asked for.
        on_skip: called with the catalogue and the reason of rows that name no file, or have the id of another.

    Raises:
        InputError: it is no catalogue, or has no column of paths.
    """
    catalogue, column = _of_files(path)
    splits, seen = catalogue.splits, set()
    for row, name in enumerate(catalogue.texts(column)):
        if name is None:
            on_skip(path, f"names no file in row {row + 1}")
            continue
        files = expand(path.parent / name)
        id_ = catalogue.ids[row] or "/".join(filter(None, (*Path(name).parts[:-1], _name(files)))).lstrip("/")
        if id_ in seen:
            on_skip(path, f"has id {id_!r} again in row {row + 1}: give every image an id of its own")
            continue
        seen.add(id_)
        found = File(files[0], id_, catalogue.labels[row], splits[row], truth=catalogue.truth_of(row))
        yield found if len(files) == 1 else with_bands(found, files, bands)


def _of_files(path: Path) -> tuple[Catalogue, str]:
    """Open a catalogue that lists image files; return it and its column of their paths.

    Raises:
        InputError: it is none.
    """
    what = "is a part of a table" if path.suffix.lower() == ".parquet" else "is text, not an image"
    try:
        catalogue = Catalogue.open(path)
        part = path.suffix.lower() == ".parquet" and "image" in pq.read_schema(path).names
    except InputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno:
            raise
        raise InputError(
            f"{path} {what}, and as a catalogue of images it is empty or damaged: give .npy, .npz, FITS or a table"
        ) from error
    if part:
        raise InputError(f"{path} {what}: give the folder that holds it with its manifest.json")
    column = catalogue.find(PATHS)
    if column is None:
        listed = ", ".join(catalogue.table.column_names[:8])
        raise InputError(
            f"{path} {what}, and as a catalogue of images it lacks a column path, file or filename (it has {listed}): "
            "name the image files in one, or give .npy, .npz, FITS or a table"
        )
    return catalogue, column


def _name(files: list[Path]) -> str:
    return stem(files[0]) if len(files) == 1 else common_name([stem(one) for one in files])


def with_bands(file: File, files: list[Path], wanted: Sequence[str] | None) -> File:
    """Return an object whose bands lie in several files, in the order that is asked for.

    Args:
        file: the object.
        files: its files.
        wanted: bands that are asked for; the order of the files by default.
    """
    names = bands_of_pattern(files, [stem(one) for one in files])
    if wanted is not None and set(wanted) <= set(names):
        by_name = dict(zip(names, files, strict=True))
        files, names = [by_name[band] for band in wanted], tuple(wanted)
    return replace(file, path=files[0], paths=tuple(files), bands=names)


def _read(path: Path) -> pa.Table:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return pq.read_table(path, columns=[name for name in pq.read_schema(path).names if name != "image"])
    if name.endswith(TEXTS):
        return _read_text(path, "\t" if name.endswith(".tsv") else ",")
    if name.endswith(TABLES):
        return _read_fits_table(path)
    raise InputError(f"{path} is no catalogue: give {', '.join(TEXTS)}, .parquet or a FITS table")


def _read_text(path: Path, separator: str) -> pa.Table:
    with open(path, "rb") as file:
        start = file.tell()
        while (line := file.readline()).startswith(b"#"):
            start = file.tell()
        if not line.strip():
            raise InputError(f"{path} has no row: give a catalogue of at least one object")
        file.seek(start)
        return csv.read_csv(file, parse_options=csv.ParseOptions(delimiter=separator))


def _read_fits_table(path: Path) -> pa.Table:
    from astropy.io import fits

    check_counts_of(path)
    with fits.open(path, memmap=False) as hdus:
        tables = [hdu for hdu in all_read(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not hdu.is_image]
        if not tables:
            raise InputError(f"{path} holds no table: give a catalogue as CSV, Parquet or FITS table")
        columns = {name: np.asarray(tables[0].data[name]) for name in tables[0].columns.names}
    flat = {name: values for name, values in columns.items() if values.ndim == 1 and values.dtype.kind in "biufSU"}
    return pa.table({name: values.astype(values.dtype.newbyteorder("=")) for name, values in flat.items()})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
