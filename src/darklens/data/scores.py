"""Scores: what a model says of every image of a survey, in one file or in a folder of Parquet partitions.

    SCORES/
      scores.json             which run, which input, cut into how many parts; whether all of them are there
      part-00000.parquet      one row an image: id, source, ra and dec where known, predicted, a probability a class, ...
      bad/part-00000.parquet  images that could not be scored: id, source, reason

A part has its name only when it is whole, and every image of the input is in one part or in its side table, once. A part without
images that could not be scored has no side table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.data.filesystem import Folder, is_url
from darklens.errors import InputError, unknown
from darklens.files import unreadable

if TYPE_CHECKING:
    import pyarrow as pa

SCORES, BAD = "scores.json", "bad"
SUFFIXES = (".csv", ".parquet")
TEXT = ("id", "source", "predicted", "set", "unusual_because")
"""Columns that are text even where they look like numbers."""


def part_name(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:05d}.parquet"


def part_number(name: str) -> int | None:
    """Return the number of the part of that name, None for any other file."""
    found = re.fullmatch(r"part-(\d{5,})\.parquet", name)
    return int(found[1]) if found else None


def read_scores(path: str | Path, columns: Sequence[str] | None = None, *, allow_incomplete: bool = False) -> pa.Table:
    """Read scores whole.

    Args:
        path: a `.csv` or `.parquet` file, or a folder or URL of partitions.
        columns: only these, in this order; all by default. Of 10^9 rows, a few columns fit into memory.
        allow_incomplete: read what is there of a survey that is not finished.

    Returns:
        One row an image, in the order of the input.

    Raises:
        InputError: there are no scores, they are incomplete or damaged, or a column is not among them.
    """
    import pyarrow as pa

    parts = list(score_parts(path, columns, allow_incomplete=allow_incomplete))
    if not parts:
        raise InputError(f"{path} has no score, for no image could be scored: see why in its folder {BAD}")
    return pa.concat_tables(parts, promote_options="permissive")


def score_parts(path: str | Path, columns: Sequence[str] | None = None, *, allow_incomplete: bool = False) -> Iterator[pa.Table]:
    """Read scores part by part, in the order of the input; memory does not grow with their number.

    Args and errors are those of `read_scores`; a file is a single part.
    """
    if is_scores_folder(path):
        folder = Folder(str(path))
        indices, _ = finished_parts(folder, allow_incomplete=allow_incomplete)
        for index in indices:
            with folder.open_parquet(part_name(index)) as part:
                if not part.metadata.num_rows:
                    continue  # no image of it could be scored
                yield part.read(columns=_wanted(part.schema_arrow.names, columns, path))
        return
    if str(path).endswith(SUFFIXES):
        table = _read_file(Path(path))
        yield table.select(_wanted(table.column_names, columns, path))
        return
    raise InputError(f"{path} holds no scores: give the file or the folder that darklens predict --out wrote")


def read_bad(path: str | Path) -> pa.Table:
    """Read the side table of a folder of scores: id, source and reason of every image that could not be scored.

    Raises:
        InputError: the folder holds no scores.
    """
    import pyarrow as pa

    folder = Folder(str(path))
    indices, _ = finished_parts(folder, allow_incomplete=True)
    beside = folder.below(BAD)
    there = beside.names()
    parts = [beside.open_parquet(part_name(index)).read() for index in indices if part_name(index) in there]
    return pa.concat_tables(parts) if parts else bad_table([])


def bad_table(rows: Sequence[tuple[str, str, str]]) -> pa.Table:
    """Return (id, source, reason) of images that could not be scored as columns."""
    import pyarrow as pa

    names = ("id", "source", "reason")
    return pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)})


def is_scores_folder(path: str | Path) -> bool:
    """Say whether a path or URL holds scores in partitions."""
    if not is_url(str(path)):
        return (Path(path) / SCORES).is_file()
    return not str(path).endswith(SUFFIXES) and SCORES in Folder(str(path)).names()


def finished_parts(folder: Folder, *, allow_incomplete: bool = False) -> tuple[list[int], dict[str, Any]]:
    """Return the numbers of the parts that are there, in order, and the manifest.

    Raises:
        InputError: the folder holds no scores, or not all of them.
    """
    names = folder.names()
    if SCORES not in names:
        raise InputError(f"{folder.url} holds no scores (it has no {SCORES}): give the folder that darklens predict --out wrote")
    manifest = folder.read_json(SCORES)
    indices = sorted(index for name in names if (index := part_number(name)) is not None)
    if len(indices) < manifest["parts"] and not allow_incomplete:
        there = f"{len(indices)} of {manifest['parts']} parts"
        raise InputError(f"{folder.url} is incomplete, {there}: run the command that wrote it again to continue")
    if not indices:
        raise InputError(f"{folder.url} has no finished part yet: run the command that began it again to continue")
    return indices, manifest


def _read_file(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    try:
        if path.suffix == ".parquet":
            found = pq.read_table(path)
            _ = found.column_names  # decoded only now
            return found
        text = csv.ConvertOptions(column_types=dict.fromkeys(TEXT, pa.string()), strings_can_be_null=False)
        found = csv.read_csv(path, convert_options=text)
        _ = found.column_names
        return found
    except (pa.ArrowException, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} holds no scores that can be read ({reason}): predict again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _wanted(there: Sequence[str], columns: Sequence[str] | None, path: str | Path) -> list[str]:
    """Return the columns to read."""
    if "id" not in there:
        raise InputError(f"{path} has no column id and so is no table of scores: give what darklens predict --out wrote")
    for name in columns or ():
        if name not in there:
            raise unknown(f"column of {path}", name, there)
    return list(there if columns is None else columns)
