"""Candidates as pictures that a browser shows: any band, or three in colour, through any stretch."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from PIL import Image

from darklens.data import Record
from darklens.errors import unknown
from darklens.evaluate.composite import STRETCHES, bands_for_colour, colour, grey, white_balance

COLOUR = "colour"
BALANCED = 200
"""Images that the white balance is taken from."""
KEPT = 128 << 20
"""Bytes of pictures that are kept once drawn, were they not compressed."""


class Pictures:
    """Draws images on demand, and keeps what it has drawn.

    Args:
        records: images of any number of bands; those with three or more have a colour picture.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = {record.id: record for record in records}
        self.views = tuple(dict.fromkeys(name for record in self._records.values() for name in views_of(record)))
        self._balance: dict[tuple[int, int, int], np.ndarray] = {}
        largest = max((record.image[0].size for record in self._records.values()), default=1)
        self.png = lru_cache(max(1, KEPT // (3 * largest)))(self._png)

    def size(self, name: str) -> tuple[int, int] | None:
        """Return width and height of an image in pixels, None where there is none."""
        return self._records[name].image.shape[:0:-1] if name in self._records else None

    def _png(self, name: str, view: str, stretch: str) -> bytes:
        """Return an image as PNG, one pixel each, north as it was on the sky: the row index grows upwards.

        Args:
            name: id of an image that is there.
            view: `colour` or a band.
            stretch: one of `STRETCHES`.

        Raises:
            InputError: no such view or stretch.
        """
        record = self._records[name]
        there = views_of(record)
        if stretch not in STRETCHES:
            raise unknown("stretch", stretch[:40], STRETCHES)
        if view not in there:
            raise unknown("band", view[:40], there)
        if view == COLOUR:
            rgb = _rgb(record)
            assert rgb is not None, "what has a colour picture has three bands"
            picture = colour(record.image[list(rgb)], self._balance_of(rgb), stretch)
        else:
            picture = grey(record.image[bands_of(record).index(view)], stretch)
        buffer = io.BytesIO()
        Image.fromarray(np.rint(255 * picture[::-1]).astype(np.uint8)).save(buffer, format="PNG")
        return buffer.getvalue()

    def _balance_of(self, rgb: tuple[int, int, int]) -> np.ndarray:
        """Return one white balance for all images that have these bands."""
        if rgb not in self._balance:
            alike = [record.image[list(rgb)] for record in self._records.values() if _rgb(record) == rgb]
            self._balance[rgb] = white_balance(alike[:BALANCED])
        return self._balance[rgb]


def bands_of(record: Record) -> list[str]:
    """Return the names of an image's bands, numbers where they have none."""
    names = list(record.metadata.get("bands") or ())
    return names if len(names) == len(record.image) else [f"band {i}" for i in range(len(record.image))]


def views_of(record: Record) -> list[str]:
    """Return what can be shown of an image: colour, where it has three bands, and each band."""
    return [*([COLOUR] if len(record.image) >= 3 else []), *bands_of(record)]


def _rgb(record: Record) -> tuple[int, int, int] | None:
    return bands_for_colour(None, bands_of(record), len(record.image))
