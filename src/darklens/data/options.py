"""What a reader may be told about the files it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from darklens.errors import InputError, unknown

LAYOUTS = ("bands", "stack", "channels-last")
FILLS = ("border", "refuse")


@dataclass(frozen=True)
class Options:
    """How to read a file.

    Args:
        hdu: extension of a FITS file by number or name, several for several bands, or `all` for one image each; by
            default the first that holds an image.
        key: array of a `.npz` file; by default the one that is named like an image, or the only one.
        layout: what the axes of a 3-D array are, one of `LAYOUTS`; by default see `darklens.data.stack`.
        fill: what to put where a pixel is not finite or masked: a value; `border`, the default: the median of the band's
            frame (`darklens.data.record.border_level`) where at most half of a band is missing; or `refuse`.
        bands: the bands in the order that is wanted, by name (`g,r,i`) or, where a file names none, by number (`2,1,0`).
        size: `(y, x)` to resample the bands of an image to if they have different pixel grids.
        mask: value that marks masked pixels; that of the ground-based lens-finding challenge is known.
        largest: size of the largest value that is taken; None for that of an image, `darklens.data.record.LARGEST`.

    Raises:
        InputError: unknown layout, a fill that is none, or contradictory options.
    """

    hdu: int | str | Sequence[int | str] | None = None
    key: str | None = None
    layout: str | None = None
    fill: float | str | None = None
    bands: tuple[str, ...] | str | Sequence[str] | None = None
    size: tuple[int, int] | None = None
    mask: float | None = None
    largest: float | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
        if isinstance(self.fill, str) and self.fill not in FILLS:
            raise unknown("fill", self.fill, (*FILLS, "a number"))
        if self.hdu is not None and self.bands is not None:
            raise InputError("--hdu and --bands both choose what to read: give one of them")
        object.__setattr__(self, "bands", band_list(self.bands))

    def given(self) -> dict[str, Any]:
        """Return what is not left at its default."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def band_list(bands: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return bands that are given as a list or as `g,r,i`.

    Raises:
        InputError: there is none, or one twice.
    """
    if bands is None:
        return None
    listed = tuple(str(b).strip() for b in (bands.split(",") if isinstance(bands, str) else bands))
    if not listed or "" in listed or len(set(listed)) < len(listed):
        raise InputError(f"bands {bands!r} are empty or name one twice: write for example --bands g,r,i")
    return listed
