"""Say what a set of images holds, in numbers; pictures are drawn elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darklens.data.manifest import MANIFEST
from darklens.data.reading import read
from darklens.data.record import Record, with_blank_bands_noted
from darklens.data.table import Table
from darklens.data.tally import Tally


def summary(source: Table | str | Path, **options: Any) -> dict[str, Any]:
    """Count classes, splits, shapes, ranges, truths and duplicates, in one streamed pass.

    Args:
        source: a table, or what `darklens.data.read` reads.
        options: those of `read`, for what is no table.

    Returns:
        The counts of `Tally.as_dict`, with `path`, `skipped` (path and reason), and for a table `table`: shape,
        classes, pixel scale, flux unit, preset, seed, checksum, and the units of its truths.

    Raises:
        InputError: there is nothing that can be read.
    """
    tally, skipped = Tally(), []
    if not isinstance(source, Table) and os.path.isfile(Path(source) / MANIFEST):
        source = Table.open(source)
    if isinstance(source, Table):
        records: Iterator[Record] = map(with_blank_bands_noted, source.records())
    else:
        options = {"on_skip": lambda path, reason: skipped.append({"path": str(path), "reason": reason})} | options
        records = read(source, **options)
    for record in records:
        tally.add(record)
    path = source.path if isinstance(source, Table) else source
    about = {"table": _about(source)} if isinstance(source, Table) else {}
    return {"path": str(path) if path else None} | about | tally.as_dict() | {"skipped": skipped}


def _about(table: Table) -> dict[str, Any]:
    taken = {key: table.manifest.get(key) for key in ("preset", "seed", "flux_unit", "source", "synthetic")}
    units = {name: table.units(name) for name in table.columns if table.units(name)}
    return taken | {
        "shape": list(table.shape),
        "classes": table.classes,
        "pixel_scale": table.pixel_scale,
        "units": units,
        "checksum": table.checksum,
    }
