"""The best of a scores table of any length: two streamed passes, of which the first reads one column only.

A scores table is what `darklens predict --out` writes: a .csv or .parquet file, or a folder of Parquet partitions. The first pass
finds the K-th largest probability and the largest of each part; the second reads the parts that reach it, so that names are read
for a small part of a survey. Ties are broken by id: the list does not depend on the order of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darklens.data.filesystem import Folder
from darklens.data.scores import BAD, finished_parts, is_scores_folder, part_name, score_parts
from darklens.errors import InputError, unknown
from darklens.files import unreadable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

KEPT = ("id", "source", "predicted", "ra", "dec", "set", "unusual", "unusual_because", "disagreement")
"""Columns of a candidate that are passed on where the table has them, beside the probability."""

Progress = Callable[[str, int, int], None]
Piece = Callable[[Sequence[str]], "pa.Table"]
"""Reads some columns of a part of a scores table."""


@dataclass(frozen=True)
class Ranking:
    """The best rows of a scores table.

    Args:
        table: at most K rows, largest probability first, ties by id; columns of `KEPT` and the probability.
        column: name of the probability.
        rows: how many the scores table has.
        without: how many of them have no probability (NaN or null); they are never candidates.
        at_threshold: rows with the probability of the last one, listed or not.
        classes: all columns that hold a probability.
    """

    table: pa.Table
    column: str
    rows: int
    without: int
    at_threshold: int
    classes: tuple[str, ...]


def rank(
    scores: str | Path,
    top: int,
    *,
    column: str = "lens",
    least: float = 0.0,
    progress: Progress = lambda phase, done, total: None,
) -> Ranking:
    """Return the K rows of largest probability; memory does not grow with the number of parts.

    Args:
        scores: a .csv or .parquet file, or a folder or URL of partitions.
        top: K.
        column: the probability to rank by.
        least: the smallest probability of a candidate.
        progress: called with phase, parts done and parts in all.

    Raises:
        InputError: K below 1, a probability outside 0 to 1, nothing to read, a column that is not there, or no row that is left.
    """
    if top < 1:
        raise InputError(f"--top {top} is no number of candidates: give at least 1")
    if not 0 <= least <= 1:
        raise InputError(f"--min-probability {least:g} is no probability: give one between 0 and 1")
    found = pieces(scores)
    schema = _schema(found, scores)
    if column not in (classes := _classes(schema, scores)):
        raise unknown("class", column, classes)
    names = [*(name for name in KEPT if name in schema.names), column]
    best, maxima, rows, without = np.empty(0), [], 0, 0
    for i, piece in enumerate(found):
        values = numbers(piece([column]), column)
        rows, without = rows + len(values), without + int(np.isnan(values).sum())
        values = values[values >= (best.min() if len(best) == top else least)]  # what is no number is never larger
        maxima.append(values.max(initial=-np.inf))
        best = np.sort(np.concatenate([best, values]))[-top:]
        progress("ranking", i + 1, len(found))
    if not len(best):
        reason = "has a probability" if without == rows else f"reaches {least:g}"
        raise InputError(f"{scores} has no candidate: none of its {rows:,} rows {reason}; lower --min-probability or score others")
    reaching = [piece for piece, most in zip(found, maxima, strict=True) if most >= best[0]]
    table, at_threshold = _best(reaching, names, column, top, best[0], progress)
    return Ranking(table, column, rows, without, at_threshold, classes)


def pieces(scores: str | Path) -> list[Piece]:
    """Return what reads the parts of a scores table, one by one: partitions, row groups, or a CSV file whole.

    Raises:
        InputError: there are no scores, they are incomplete or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_scores_folder(scores):
        folder = Folder(str(scores))
        indices, _ = finished_parts(folder)
        return [partial(_partition, folder, i) for i in indices]
    if Path(scores).suffix != ".parquet":
        whole = pa.concat_tables(score_parts(scores))
        return [lambda names: whole.select(list(names)) if names else whole]
    try:
        file = pq.ParquetFile(scores)
    except pa.ArrowException as error:
        raise InputError(f"{scores} holds no scores that can be read ({str(error).splitlines()[0]}): predict again") from error
    except OSError as error:
        raise unreadable(Path(scores), error) from error
    return [partial(_row_group, file, i) for i in range(file.num_row_groups)]


def _partition(folder: Folder, part: int, names: Sequence[str]) -> pa.Table:
    return folder.open_parquet(part_name(part)).read(list(names) or None)


def _row_group(file: pq.ParquetFile, group: int, names: Sequence[str]) -> pa.Table:
    return file.read_row_group(group, list(names) or None)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a numeric column as float64, NaN where it is null; a part of which no image could be scored may lack it."""
    if not table.num_rows:
        return np.empty(0)
    return table[name].cast("float64").to_numpy()


def _schema(found: Sequence[Piece], scores: str | Path) -> pa.Schema:
    """Return the columns of the first part that has a row.

    Raises:
        InputError: there is none.
    """
    tables = (piece([]) for piece in found)
    if (table := next((table for table in tables if table.num_rows), None)) is None:
        raise InputError(f"{scores} has no score, for no image could be scored: see why in its folder {BAD}, and predict again")
    return table.schema


def _classes(schema: pa.Schema, scores: str | Path) -> tuple[str, ...]:
    """Return the columns that hold a probability.

    Raises:
        InputError: there are no ids.
    """
    import pyarrow as pa

    if "id" not in schema.names:
        raise InputError(f"{scores} has no column 'id', only {', '.join(schema.names)}: give what darklens predict --out wrote")
    return tuple(f.name for f in schema if pa.types.is_floating(f.type) and f.name not in KEPT)


def _best(
    found: list[Piece], names: list[str], column: str, top: int, threshold: float, progress: Progress
) -> tuple[pa.Table, int]:
    """Return the rows from a probability on, K at most, and how many have just that one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept, at_threshold = None, 0
    for i, piece in enumerate(found):
        table = piece(names)
        values = numbers(table, column)
        at_threshold += int((values == threshold).sum())
        table = table.filter(pa.array(values >= threshold))
        table = table if kept is None else pa.concat_tables([kept, table], promote_options="permissive")
        kept = table.take(pc.sort_indices(table, sort_keys=[(column, "descending"), ("id", "ascending")])[:top])
        progress("reading candidates", i + 1, len(found))
    assert kept is not None  # some part reaches the threshold, which is a probability of one of its rows
    return kept.combine_chunks(), at_threshold


def positions(scores: str | Path, column: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield ids (objects), right ascension, declination (deg) and probability of all rows, part by part.

    Raises:
        InputError: the table has no `ra` and `dec`.
    """
    found = pieces(scores)
    if not {"ra", "dec"} <= set(_schema(found, scores).names):
        raise InputError(f"{scores} has no columns ra and dec: score with darklens predict --keep ra,dec, or leave --known out")
    for piece in found:
        table = piece(["id", "ra", "dec", column])
        yield table["id"].to_numpy(zero_copy_only=False), *(numbers(table, name) for name in ("ra", "dec", column))
