"""Say what a set of images holds, in numbers; pictures are drawn elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from darklens.data.reading import read
from darklens.data.record import with_blank_bands_noted
from darklens.data.table import MANIFEST, Table
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
    table = source if isinstance(source, Table) else None
    if table is None and os.path.isfile(Path(source) / MANIFEST):
        table = Table.open(source)
    if table is None:
        options = {"on_skip": lambda path, reason: skipped.append({"path": str(path), "reason": reason})} | options
    for record in map(with_blank_bands_noted, table.records()) if table is not None else read(source, **options):
        tally.add(record)
    path = table.path if table is not None else source
    about = {"table": _about(table)} if table is not None else {}
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
