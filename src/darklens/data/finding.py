"""Find the images of some rows of a table again: by the id in a place that is given, or by what the row calls its source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from darklens.data.manifest import MANIFEST
from darklens.data.reading import read
from darklens.data.record import Record
from darklens.data.table import Table
from darklens.errors import InputError

Missing = Callable[[str, str], None]
WITHOUT_IMAGES = "it has no source to read it from: give --images"


def find_images(
    ids: Sequence[str], sources: Sequence[str] | None, images: str | Path | None = None, *, on_missing: Missing | None = None
) -> dict[str, Record]:
    """Return the records of some ids; only their images stay in memory.

    Args:
        ids: names of the images, unique.
        sources: where each was read from: a table, an image, a file of several; relative paths count from where we stand.
        images: a table, or anything that darklens reads, that holds all of them; `sources` are not used then.
        on_missing: called with id and reason of every image that is not found.

    Returns:
        id -> record, for those that were found.

    Raises:
        InputError: `images` cannot be read.
    """
    missing = on_missing or (lambda name, why: None)
    if images is not None:
        found = _in(Path(images), ids)
        for name in ids:
            if name not in found:
                missing(name, f"{images} holds no image of that id")
        return found
    places: dict[str, list[str]] = defaultdict(list)
    for name, source in zip(ids, sources or [""] * len(ids), strict=True):
        places[source or ""].append(name)
    found = {}
    for source, wanted in places.items():
        try:
            if not source:
                raise InputError(WITHOUT_IMAGES)
            found |= _of(source, wanted)
        except InputError as error:
            for name in wanted:
                missing(name, str(error))
            continue
        for name in wanted:
            if name not in found:
                missing(name, f"{source} holds no image of that id: give --images")
    return found


def _in(path: Path, ids: Iterable[str]) -> dict[str, Record]:
    """Return those of these ids that a place holds; of a table only their rows are read."""
    wanted = set(ids)
    if (path / MANIFEST).is_file():
        table = Table.open(path, allow_incomplete=True)
        return {record.id: record for record in table.records(np.flatnonzero([name in wanted for name in table.ids]))}
    found = {}
    for record in read(path, on_skip=lambda *_: None):
        if record.id in wanted:
            found[record.id] = record
            if len(found) == len(wanted):
                break
    return found


def _of(source: str, ids: list[str]) -> dict[str, Record]:
    """Return those of these ids that come from one source.

    The ids of files begin with their folders, which the file alone does not know: a file of one image is that image, and in one of
    several (`FILE#3` is its fourth) the end of the id decides.
    """
    name, _, number = source.rpartition("#")
    path = Path(name if number.isdigit() and name else source)
    if path.is_dir():
        return _in(path, ids)
    place = int(number) if path != Path(source) else None
    count, first = 0, None
    found: dict[str, Record] = {}
    for record in read(path, on_skip=lambda *_: None):
        named = ids[:1] if count == place else [name for name in ids if name == record.id or name.endswith("/" + record.id)]
        found |= {name: record.with_(id=name) for name in named if place in (None, count)}
        first, count = first or record, count + 1
        if len(found) == len(ids) > 0:
            break
    return {ids[0]: first.with_(id=ids[0])} if first and not found and count == len(ids) == 1 else found
