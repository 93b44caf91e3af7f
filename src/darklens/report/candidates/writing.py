"""A selection of candidates, written into a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens import files
from darklens.errors import InputError
from darklens.evaluate.candidate_pages import Tile, save_contact_sheet, save_gallery
from darklens.evaluate.composite import bands_for_colour, colour, grey, white_balance
from darklens.evaluate.wording import format_bounds
from darklens.files import write_atomic, write_json
from darklens.report.candidates.files import DECISIONS, as_table, write_decisions, write_regions, write_tables
from darklens.report.candidates.page import write_page
from darklens.report.candidates.selection import DRAWN, Selection

SUMMARY = "candidates.json"


def free_folder(out: Path, force: bool) -> Path:
    """Return the folder to write into.

    Raises:
        InputError: it is a file, holds something else, or holds candidates and `force` is not given.
    """
    return files.free_folder(out, SUMMARY, "are no candidates", force)


def write_candidates(
    out: Path,
    selection: Selection,
    *,
    scores: str | Path,
    images: str | Path | None = None,
    bands: Sequence[str | int] | None = None,
) -> dict[str, Any]:
    """Write tables, regions, pictures, pages and a sheet for decisions, and return the summary.

    Args:
        out: a folder; pictures of earlier candidates in it go, decisions that somebody has made stay.
        selection: the candidates.
        scores: where they come from.
        images: where their images were found, if not where the scores say.
        bands: red, green and blue; see `bands_for_colour`.

    Raises:
        InputError: images of different numbers of bands, or bands that they do not have.
        WorkError: the disk is full.
    """
    tiles, how = tiles_of(selection, bands)
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("gallery-[0-9]*.png"), out / "known.csv", out / "candidates.reg"]:
        old.unlink(missing_ok=True)
    columns, summary = selection.columns, {"scores": str(scores), "images": images and str(images)} | selection.summary()
    table = as_table(columns, selection.ranking.column)
    files = write_tables(out, table)
    if selection.placed:
        files.append(out / "candidates.reg")
        write_regions(files[-1], table)
    known = [] if selection.match is None else selection.match.rows(dict(zip(columns["id"], columns["rank"], strict=True)))
    if selection.match is not None:
        files.append(out / "known.csv")
        _write_known(files[-1], known)
    title = f"{len(table):,} candidates of {summary['rows']:,} images"
    summary["on_page"] = write_page(
        out / "candidates.html",
        tiles,
        title=title,
        scores=str(scores),
        sentences=sentences(summary),
        how=how,
        places=_places(selection),
        missing=selection.missing,
        unusual=_unusual(selection),
        known=known,
        files=[path.name for path in files],
    )
    save_contact_sheet(out / "contact-sheet.pdf", tiles, title)
    write_decisions(out / DECISIONS, columns["id"])
    files += [out / "candidates.html", out / "contact-sheet.pdf", *save_gallery(out, tiles, title), out / DECISIONS]
    summary |= {"out": str(out), "files": [path.name for path in files]}
    write_json(out / SUMMARY, summary)
    return summary


def tiles_of(selection: Selection, bands: Sequence[str | int] | None) -> tuple[list[Tile], str]:
    """Return the candidates ready to be drawn, and a sentence on what their pictures show.

    Raises:
        InputError: images of different numbers of bands, or bands that they do not have.
    """
    records = selection.records
    counts = sorted({record.image.shape[0] for record in records.values()})
    if len(counts) > 1:
        raise InputError(f"the candidates' images have {' and '.join(map(str, counts))} bands: score and draw one kind at a time")
    count = counts[0] if counts else 1
    names = next((list(r.metadata["bands"]) for r in records.values() if len(r.metadata.get("bands") or ()) == count), None)
    rgb = bands_for_colour(bands, names, count)
    balance = None if rgb is None or not records else white_balance([r.image[list(rgb)] for r in records.values()])
    shown = rgb[1] if rgb else 0

    def views(name: str) -> tuple[np.ndarray, ...]:
        if name not in records:
            return ()
        image = records[name].image
        return (grey(image[shown]),) if rgb is None else (grey(image[shown]), colour(image[list(rgb)], balance))

    flags, known, values = (
        selection.column("unusual", 0),
        selection.column("known", ""),
        selection.columns[selection.ranking.column],
    )
    tiles = [
        Tile(i + 1, name, values[i], views(name), known[i], bool(flags[i]))
        for i, name in enumerate(selection.columns["id"][:DRAWN])
    ]
    called = [names[i] if names else f"band {i}" for i in rgb or (0,)]
    if rgb is None:
        return tiles, f"Each picture shows {called[0]} with an asinh stretch of its own."
    hues = ", ".join(f"{name} as {hue}" for name, hue in zip(called, ("red", "green", "blue"), strict=True))
    return tiles, f"Left {called[1]} with an asinh stretch; right a colour composite, {hues}, with one white balance for all."


def sentences(summary: dict[str, Any]) -> list[str]:
    """Say in words what the numbers of a selection are."""
    n, least, known = summary["candidates"], summary["probability"]["last"], summary["known"]
    said = [
        f"The {n:,} images of largest probability of {summary['class']}, {summary['probability']['first']:.4f} to {least:.4f}; "
        f"if the probabilities are calibrated, {summary['expected_true']:.1f} of them are true."
    ]
    if summary["probability"]["rows_at_last"] > 1:
        said.append(f"{summary['probability']['rows_at_last']:,} images share the last probability; their ids decided.")
    if known is not None:
        said += _known_sentences(known)
    if summary["unusual"]:
        said.append(f"{summary['unusual']:,} of them look unlike the training images: the probability is to be taken with care.")
    if summary["without_probability"]:
        said.append(f"{summary['without_probability']:,} images have no probability and were left out.")
    if summary["images_missing"]:
        said.append(f"The images of {summary['images_missing']:,} were not found, the first is {summary['first_missing']}.")
    if n > DRAWN:
        said.append(f"Pictures are drawn of the first {DRAWN:,}; the tables hold all.")
    return said


def _known_sentences(known: dict[str, Any]) -> list[str]:
    if not known["expected"]:
        return [f'None of the {known["catalogue"]:,} known objects lies within {known["radius_arcsec"]:g}" of an image.']
    found = known["completeness"]
    return [
        f'Of {known["catalogue"]:,} known objects, {known["expected"]:,} lie within {known["radius_arcsec"]:g}" of an image, '
        f"and {known['recovered']:,} of these are in the list: {found['value']:.1%} {format_bounds(found, 3)}.",
        f"{known['candidates_known']:,} candidates are known; by chance it would be {known['candidates_known_by_chance']:.1f}.",
    ]


def _places(selection: Selection) -> list[str]:
    if not selection.placed:
        return [""] * len(selection.columns["id"])
    pairs = zip(selection.columns["ra"], selection.columns["dec"], strict=True)
    return ["" if a is None or d is None or not np.isfinite(a + d) else f"{a:.5f} {d:+.5f}" for a, d in pairs]


def _unusual(selection: Selection) -> list[str]:
    """Return why each is unlike the training images, empty if it is not."""
    pairs = zip(selection.column("unusual", 0), selection.column("unusual_because", ""), strict=True)
    return [(why or "flagged") if flag else "" for flag, why in pairs]


def _write_known(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", "ra", "dec", "id", "probability", "rank"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())
