"""The page of candidates: one self-contained HTML file with every picture in it."""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens.evaluate.candidate_pages import Tile, probability_text
from darklens.files import write_atomic
from darklens.report.candidates.files import DECISIONS
from darklens.report.page import MAX_BYTES, environment

PICTURES = MAX_BYTES - (2 << 20)
"""Bytes of pictures at most: the rest of the page is words."""
SIZES = ((192, 88), (128, 82), (96, 75), (64, 70))
"""Pixels on a side and JPEG quality, the first of which that fits is used."""
KNOWN_SHOWN = 500
"""Rows of the table of known objects."""


def write_page(
    path: Path,
    tiles: Sequence[Tile],
    *,
    title: str,
    scores: str,
    sentences: Sequence[str],
    how: str,
    places: Sequence[str],
    missing: dict[str, str],
    unusual: Sequence[str],
    known: Sequence[dict[str, Any]],
    files: Sequence[str],
) -> int:
    """Write the page and return how many candidates stand in it: the first ones, should not all of them fit.

    Args:
        path: HTML file.
        tiles: the candidates.
        title: heading.
        scores: where they come from.
        sentences: of the summary.
        how: what the pictures show.
        places: position of each in words, empty where unknown.
        missing: id -> why its image was not found.
        unusual: why the model found each unlike its training images; empty if it did not.
        known: of the known objects among the images: name, ra, dec, id, probability, rank (None outside the list).
        files: names of the tables beside it.
    """
    pictures = _pictures(tiles)
    shown = [
        {
            "rank": t.rank,
            "id": t.id,
            "probability": probability_text(t.probability),
            "sources": sources,
            "missing": missing.get(t.id, "no image"),
            "place": place,
            "known": t.known,
            "unusual": why,
        }
        for t, sources, place, why in zip(tiles, pictures, places, unusual, strict=False)
    ]
    more = f" Shown are the first {KNOWN_SHOWN} of {len(known):,}." if len(known) > KNOWN_SHOWN else ""
    page = environment().get_template("candidates.html").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        scores=scores,
        sentences=[*sentences, *([f"This page shows the first {len(shown)} of them."] if len(shown) < len(tiles) else [])],
        how=how,
        views=max((len(t.views) for t in tiles), default=1) or 1,
        tiles=shown,
        known=known[:KNOWN_SHOWN],
        known_note=f"Every known object that has an image, by the probability of its best one.{more}",
        files=files,
        decisions=DECISIONS,
        version=importlib.metadata.version("darklens"),
    )  # fmt: skip
    write_atomic(path, page)
    return len(shown)


def _pictures(tiles: Sequence[Tile]) -> list[list[str]]:
    """Return the pictures of as many candidates as fit, encoded, at the largest size at which all of them do."""
    for size, quality in SIZES:
        encoded, used = [], 0
        for tile in tiles:
            encoded.append([_encoded(view, size, quality) for view in tile.views])
            used += sum(map(len, encoded[-1]))
            if used > PICTURES:
                break
        else:
            return encoded
    return encoded[:-1]


def _encoded(view: np.ndarray, size: int, quality: int) -> str:
    """Return a picture as the source of an image element; small ones are enlarged by whole pixels, large ones made smaller."""
    from PIL import Image

    picture = Image.fromarray(np.rint(255 * view[::-1]).astype(np.uint8))
    largest = max(picture.size)
    if largest > size:
        width, height = (max(1, round(s * size / largest)) for s in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    elif size // largest > 1:
        width, height = (s * (size // largest) for s in picture.size)
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
