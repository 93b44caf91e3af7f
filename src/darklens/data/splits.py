"""Splits by content: an image and its duplicates, whatever they are called, always land on the same side.

The side is a function of the image's content hash and the seed alone; adding images later moves none of the old ones. Images that
were made from one galaxy differ in content and share a `group`, a truth column: then it, not the content, says the side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from darklens.data.record import content_hash
from darklens.data.table import Table
from darklens.errors import InputError

NAMES = ("train", "val", "test")
GROUP = "group"
"""Truth column with the number of what rows were made from, see `group_of`."""


def fractions_of(given: str | Sequence[float] | Mapping[str, float]) -> dict[str, float]:
    """Read the fractions of a split.

    Args:
        given: `"0.8,0.1,0.1"`, three numbers in the order train, val, test, or a mapping from name to number.

    Returns:
        Name -> fraction, adding up to 1.

    Raises:
        InputError: not three numbers, or not fractions of one.
    """
    try:
        named = dict(given) if isinstance(given, Mapping) else dict(zip(NAMES, map(float, _parts(given)), strict=True))
    except ValueError as error:
        raise InputError(f"split {given!r} is not three numbers: give train,val,test such as 0.8,0.1,0.1") from error
    if min(named.values()) < 0 or abs(sum(named.values()) - 1) > 1e-6:
        raise InputError(f"split {given!r} adds up to {sum(named.values()):g}: give fractions of 1 such as 0.8,0.1,0.1")
    return named


def _parts(given: str | Sequence[float]) -> Sequence[str | float]:
    return given.split(",") if isinstance(given, str) else given


def split_of(content: str, fractions: Mapping[str, float], seed: int) -> str:
    """Return the side of an image with this content hash: one of the names in `fractions`, which add up to 1."""
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name, fraction in fractions.items():
        edge += fraction
        if position < edge:
            return name
    return next(name for name in reversed(list(fractions)) if fractions[name] > 0)  # the edges fell short of 1 by rounding


def group_of(content: str) -> float:
    """Return the number of a group from the content hash of what its images were made from: 52 bits, exact in float64."""
    return float(int(content[:13], 16))


def split_key(content: str, group: float | None) -> str:
    """Return what decides the side of an image: its group where it has one, else its content hash."""
    return content if group is None or math.isnan(group) else f"{GROUP} {group:.0f}"


def check_disjoint(a: Table, b: Table) -> None:
    """Check that no image is in both tables, by content.

    Raises:
        InputError: an image is in both; the text names how many and the first.
    """
    known = {content_hash(image): name for name, image in _images(a)}
    common = [(known[h], name) for name, image in _images(b) if (h := content_hash(image)) in known]
    if common:
        raise InputError(
            f"{len(common)} of {len(b)} images are in both tables, the first as {common[0][0]} and {common[0][1]}: "
            "split by content with darklens import --split"
        )


def _images(table: Table) -> Iterator[tuple[str, np.ndarray]]:
    for batch in table.batches(256):
        yield from zip(batch["id"], batch["image"], strict=True)
