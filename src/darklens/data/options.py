"""What a reader may be told about the files it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darklens.errors import unknown

LAYOUTS = ("bands", "stack", "channels-last")


@dataclass(frozen=True)
class Options:
    """How to read a file.

    Args:
        hdu: extension of a FITS file by number or name, several for several bands, or `all` for one image each; by
            default the first that holds an image.
        key: array of a `.npz` file; by default the one that is named like an image, or the only one.
        layout: what the axes of a 3-D array are, one of `LAYOUTS`; by default see `darklens.data.stack`.
        fill: value for pixels that are not finite; by default an image with such pixels is refused.

    Raises:
        InputError: unknown layout.
    """

    hdu: int | str | Sequence[int | str] | None = None
    key: str | None = None
    layout: str | None = None
    fill: float | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
