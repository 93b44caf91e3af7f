"""Predictions of whatever lies at a path, streamed into one CSV or Parquet file, which is there whole or not at all."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from darklens.data import Noticed, Record, read, resize_image
from darklens.errors import InputError
from darklens.evaluate.proportion import proportion
from darklens.files import TEMPORARY, unwritable
from darklens.train.adaptation.images import Sample
from darklens.train.answers import Answers, Judge
from darklens.train.columns import completed
from darklens.train.measured import ASKED

SUFFIXES = (".csv", ".parquet")


def predict_path(
    judge: Judge,
    path: Path,
    out: Path | None,
    *,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    force: bool = False,
    collect: bool = False,
) -> dict[str, Any]:
    """Classify every image at a path.

    Args:
        judge: a trained model, or several as one.
        path: an image, a folder, a table.
        out: `.csv` or `.parquet`; None prints CSV on stdout. Columns: id, source, predicted, one probability a class; then, as far
            as the model knows them, `set` (the classes of the conformal set, joined by |), `unusual` (1 for an image unlike the
            training images) with `unusual_because`, and for an ensemble `disagreement` in nats.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands in the model's order, `g,r,i`.
        force: replace an existing file.
        collect: return the rows as well; without `out` nothing is printed then.

    Returns:
        `{"images": number classified, "called": class -> how many of them, "skipped": [(name, reason)], "unusual": fraction with
        its interval, or None}`; what the readers noticed: `filled` (pixels and images), `notes` (note -> images) and `noticed`
        (both in sentences, and what the model doubts, see `Judge.doubts`); and with `collect` the rows as "predictions".

    Raises:
        InputError: no image could be classified, or `out` exists, has another suffix or cannot be written.
        WorkError: the disk is full.
    """
    if out is not None:
        if out.suffix not in SUFFIXES:
            raise InputError(f"--out {out} ends in {out.suffix or 'nothing'!r}: predictions are written as {' or '.join(SUFFIXES)}")
        if out.exists() and not force:
            raise InputError(f"{out} exists: choose another file or give --force")
        _see_that_it_can_be_written(out)
    skipped: list[tuple[str, str]] = []
    size = judge.shape[1:] if resize else None
    records = read(path, hdu=hdu, bands=bands, size=size, on_skip=lambda what, why: skipped.append((str(what), why)))
    records = completed(records, path, judge.columns)
    noticed = Noticed()
    batches = judge.answer(noticed.watch(records), resize=resize, on_skip=lambda what, why: skipped.append((what, why)))
    first = next(batches, None)
    if first is None:
        reason = skipped[0][1] if skipped else "it holds no image"
        more = f" (and {len(skipped) - 1} more that could not be used)" if len(skipped) > 1 else ""
        raise InputError(reason if not more else f"{reason}{more}")
    header = ["id", "source", "predicted", *judge.classes, *more_columns(first[1], judge.classes)]
    flagged: list[int] = []
    called = dict.fromkeys(judge.classes, 0)
    some = Sample[Record](ASKED)
    rows = (_rows(*batch, judge.classes, flagged, called) for batch in _sampled(chain([first], batches), some))
    collected: list[list[Any]] = []
    blocks = _kept(rows, collected) if collect else rows
    silent = out is None and collect
    count = sum(len(block) for block in blocks) if silent else _write(out, header, next(blocks), blocks)
    unusual = None if first[1].unusual is None else proportion(sum(flagged), count)
    shown = [resize_image(r.image, judge.shape[1:]) if resize else r.image for r in some.items()]
    lines = noticed.lines() + judge.doubts(judge.checked(np.stack(shown)))
    found = {"images": count, "called": called, "skipped": skipped, "unusual": unusual} | noticed.as_dict() | {"noticed": lines}
    return found | ({"predictions": [dict(zip(header, row, strict=True)) for row in collected]} if collect else {})


def _see_that_it_can_be_written(out: Path) -> None:
    """Find out before any image is classified.

    Raises:
        InputError: it cannot.
    """
    temporary = out.with_name(out.name + TEMPORARY)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        why = (error.strerror or "input/output error").lower()
        raise InputError(
            f"--out {out} cannot be written ({why}): choose another folder, or check the rights of that one"
        ) from error


def _sampled(batches: Iterable[tuple[list[Record], Answers]], some: Sample[Record]) -> Iterator[tuple[list[Record], Answers]]:
    """Pass batches on, and keep some of their records."""
    for records, answers in batches:
        for record in records:
            some.add(record)
        yield records, answers


def _kept(blocks: Iterator[list[list[Any]]], into: list[list[Any]]) -> Iterator[list[list[Any]]]:
    for block in blocks:
        into += block
        yield block


def _rows(
    records: list[Record], answers: Answers, classes: tuple[str, ...], flagged: list[int], called: dict[str, int]
) -> list[list[Any]]:
    """Return the lines of a batch, and enter how many of its images are unusual, and how many have been called what."""
    for k in answers.called:
        called[classes[k]] += 1
    flagged.append(0 if answers.unusual is None else int(answers.unusual.flags.sum()))
    more = list(more_columns(answers, classes).values())
    return [
        [record.id, record.source, classes[k], *(round(float(v), 6) for v in p), *(column[i] for column in more)]
        for i, (record, p, k) in enumerate(zip(records, answers.probabilities, answers.called, strict=True))
    ]


def more_columns(answers: Answers, classes: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the columns that come after the probabilities, as far as the model knows them; see `predict_path`."""
    found: dict[str, list[Any]] = {}
    if answers.sets is not None:
        found["set"] = ["|".join(name for name, inside in zip(classes, row, strict=True) if inside) for row in answers.sets]
    if answers.unusual is not None:
        found["unusual"] = [int(flag) for flag in answers.unusual.flags]
        found["unusual_because"] = list(answers.unusual.because)
    if answers.disagreement is not None:
        found["disagreement"] = [round(float(v), 6) for v in answers.disagreement]
    return found


def _write(out: Path | None, header: list[str], first: list[list[Any]], rest: Iterator[list[list[Any]]]) -> int:
    if out is None:
        return _write_csv(sys.stdout, header, first, rest)
    temporary = out.with_name(out.name + TEMPORARY)
    try:
        if out.suffix == ".csv":
            with temporary.open("w", newline="") as file:
                count = _write_csv(file, header, first, rest)
        else:
            count = _write_parquet(temporary, header, first, rest)
        os.replace(temporary, out)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _write_csv(file: IO[str], header: list[str], first: list[list[Any]], rest: Iterator[list[list[Any]]]) -> int:
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(first)
    count = len(first)
    for rows in rest:
        writer.writerows(rows)
        count += len(rows)
    return count


def _write_parquet(path: Path, header: list[str], first: list[list[Any]], rest: Iterator[list[list[Any]]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def block(rows: list[list[Any]]) -> pa.Table:
        return pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)))

    count = len(first)
    with pq.ParquetWriter(path, block(first).schema) as writer:
        writer.write_table(block(first))
        for rows in rest:
            writer.write_table(block(rows))
            count += len(rows)
    return count
