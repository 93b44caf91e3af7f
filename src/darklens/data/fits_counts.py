"""A look at a FITS file's headers before a parser believes them.

FITS allows 999 axes and 999 columns. A header of a few kB that declares 200,000,000 axes makes a parser look for as many cards.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from darklens.errors import InputError

COUNTS_AT_MOST = 999
"""Axes, and columns of a table: the standard's limit (Pence et al. 2010, A&A 524, A42, sections 4.4.1 and 7.2.1)."""
LOOKED_AT = 1 << 26
"""Bytes at the start of a file that are searched: those of a cutout, or the headers before a mosaic's pixels."""
_COUNTS = re.compile(rb"(?:NAXIS   |ZNAXIS  |TFIELDS )= *[+]?(\d+)")


def check_counts(content: bytes, name: str) -> None:
    """Refuse a FITS file that declares more axes or columns than there can be.

    Args:
        content: the file, or its start.
        name: what to call it.

    Raises:
        InputError: it does.
    """
    most = max((int(found[:20]) for found in _COUNTS.findall(content)), default=0)
    if most > COUNTS_AT_MOST:
        raise InputError(f"{name} declares {most} axes or columns, FITS has at most {COUNTS_AT_MOST}: write it again")


def check_counts_of(path: Path) -> None:
    """Do the same with a file on disk."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        check_counts(file.read(LOOKED_AT), str(path))
