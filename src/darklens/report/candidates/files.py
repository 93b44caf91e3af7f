"""A list of candidates as files for other programs: CSV, VOTable, FITS, Parquet, DS9 regions, and a sheet to decide in."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darklens.data.decisions import COLUMNS
from darklens.files import TEMPORARY, settle, write_atomic

if TYPE_CHECKING:
    from astropy.table import Table

NAME = "candidates"
DECISIONS = "decisions.csv"
REGION_RADIUS = 5.0
"""Arcsec, of a region."""

DESCRIPTIONS = {
    "rank": "place in the list, from 1",
    "id": "name of the image",
    "source": "where the image was read from",
    "ra": "right ascension, ICRS",
    "dec": "declination, ICRS",
    "predicted": "the most probable class",
    "unusual": "1 for an image unlike the training images",
    "unusual_because": "why it is unlike them",
    "set": "classes of the conformal set, joined by |",
    "disagreement": "mutual information between class and member of the ensemble, in nats",
    "known": "the known object within the radius, empty if there is none",
    "known_separation": "distance to it",
}
UNITS = {"ra": "deg", "dec": "deg", "known_separation": "arcsec"}


def as_table(columns: Mapping[str, Sequence], probability: str) -> Table:
    """Return columns as an astropy table with units and descriptions.

    Args:
        columns: name -> values of all rows; nothing (None) becomes NaN or an empty text.
        probability: name of the column that the list is ranked by.
    """
    from astropy.table import Column, Table

    about = DESCRIPTIONS | {probability: f"calibrated probability of {probability}"}
    table = Table(meta={"comments": ["candidates of darklens, most probable first"]})
    for name, values in columns.items():
        numeric = any(isinstance(value, int | float) for value in values)
        content = _numbers(values) if numeric else np.array(["" if value is None else value for value in values], dtype=str)
        table.add_column(Column(content, name=name, unit=UNITS.get(name), description=about.get(name, "")))
    return table


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array(values) if None not in values else np.array([np.nan if value is None else value for value in values])


def write_tables(folder: Path, table: Table) -> list[Path]:
    """Write the list as CSV, VOTable, FITS and Parquet, and return the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [folder / f"{NAME}.{suffix}" for suffix in ("csv", "vot", "fits", "parquet")]
    text = io.StringIO()
    table.write(text, format="ascii.csv")
    write_atomic(paths[0], text.getvalue())
    for path, layout in zip(paths[1:3], ("votable", "fits"), strict=True):
        content = io.BytesIO()
        table.write(content, format=layout)
        write_atomic(path, content.getvalue())
    fields = [
        pa.field(name, pa.array(table[name].tolist()).type, metadata={"unit": str(table[name].unit or "")})
        for name in table.colnames
    ]
    arrow = pa.table([pa.array(table[name].tolist()) for name in table.colnames], schema=pa.schema(fields))
    temporary = paths[3].with_name(paths[3].name + TEMPORARY)
    pq.write_table(arrow, temporary)
    settle(temporary, paths[3])
    return paths


def write_regions(path: Path, table: Table) -> None:
    """Write circles around candidates with a position for DS9; known objects are green, the others yellow."""
    lines = ["# Region file format: DS9 version 4.1", 'global color=yellow font="helvetica 10 normal roman" width=1', "fk5"]
    known = table["known"] if "known" in table.colnames else [""] * len(table)
    for row, name in zip(table, known, strict=True):
        if np.isfinite(row["ra"]) and np.isfinite(row["dec"]):
            colour = " color=green" if name else ""
            text = f"{row['rank']} {row['id']}".replace("}", ")").replace("{", "(")
            lines.append(f'circle({row["ra"]:.7f},{row["dec"]:.7f},{REGION_RADIUS:g}") #{colour} text={{{text}}}')
    write_atomic(path, "\n".join(lines) + "\n")


def write_decisions(path: Path, ids: Sequence[str]) -> None:
    """Write a sheet of decisions, one line a candidate; what somebody has decided in an older one stays."""
    decided = []
    if path.is_file():
        with path.open(newline="") as file:
            decided = [row for row in csv.reader(file) if len(row) > 1 and row[1].strip()][1:]
    there = {row[0] for row in decided}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(decided)
    writer.writerows([name, "", "", ""] for name in ids if name not in there)
    write_atomic(path, text.getvalue())
