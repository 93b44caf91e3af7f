"""The most probable images of a survey, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def candidates(
    scores: str | Path,
    top: int = 500,
    out: str | Path = "candidates",
    *,
    images: str | Path | None = None,
    known: str | Path | None = None,
    radius: float | None = None,
    bands: Sequence[str | int] | None = None,
    min_probability: float = 0.0,
    label: str = "lens",
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Write the K most probable images of a survey as tables, pictures and one page, and return a summary.

    Into `out` go candidates.csv, .vot, .fits and .parquet; candidates.html, contact-sheet.pdf and gallery-001.png, ...;
    candidates.reg for DS9 (with positions only); known.csv (with `known` only); decisions.csv, to be filled in; candidates.json.
    Decisions that are there already are kept.

    Args:
        scores: what `darklens predict --out` wrote: a file, or a folder of partitions of any number of rows.
        top: K; ties are broken by id.
        out: a folder.
        images: a table or anything that darklens reads, in which the images are found by their ids; by default each is read from
            its source.
        known: a catalogue of known objects with ra and dec in degrees (.csv, .ecsv, .fits, .vot, .parquet).
        radius: arcsec within which a position is that of a known object; 5 by default.
        bands: red, green and blue of the colour composite, names or numbers from 0; by default the last, the middle and the first.
        min_probability: smallest probability of a candidate.
        label: class whose probability ranks.
        force: replace candidates that are there.
        progress: called with phase, done and total.

    Returns:
        What candidates.json holds: counts, files, and what became of the known objects.

    Raises:
        InputError: scores, catalogue or bands that cannot be used, positions that are asked for and missing, or `out` in the way.
        WorkError: the disk is full.
    """
    from darklens.report.candidates import RADIUS, free_folder, select, write_candidates

    folder = free_folder(Path(out), force)
    selection = select(
        scores, top, label=label, min_probability=min_probability, images=images, known=known,
        radius=RADIUS if radius is None else radius, progress=progress,
    )  # fmt: skip
    return write_candidates(folder, selection, scores=scores, images=images, bands=bands)
