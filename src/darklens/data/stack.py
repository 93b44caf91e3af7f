"""From arrays of any rank to images: bands, stacks of images, channels last.

| axes | taken for |
|---|---|
| 2 | an image `(y, x)` |
| 3, leading axis up to 10 | an image `(bands, y, x)` |
| 3, leading axis longer | a stack of images `(n, y, x)` |
| 3, last axis 3 or 4 and the others longer than 10 | an image `(y, x, bands)`, as pictures are stored |
| 4 | a stack of images `(n, bands, y, x)` |

The option `layout` overrules the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data.options import Options
from darklens.data.record import BANDS_AT_MOST, Record, as_image
from darklens.errors import InputError


@dataclass(frozen=True)
class Shaped:
    """What a file holds, as far as its header tells: so many images of one shape.

    Args:
        shape: `(bands, y, x)`.
        count: number of images.
        truth: names of the truth columns that come with them.
        pixel_scale: arcsec a pixel, where known.
        bands: names of the bands, where known.
        flux_unit: of a pixel, where known.
    """

    shape: tuple[int, ...]
    count: int = 1
    truth: tuple[str, ...] = ()
    pixel_scale: float | None = None
    bands: tuple[str, ...] = ()
    flux_unit: str | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], name: str, options: Options, truth: tuple[str, ...] = ()) -> Shaped:
        """Tell images from the shape of an array."""
        layout = layout_of(shape, name, options.layout)
        if layout == "channels-last":
            return cls((shape[2], *shape[:2]), 1, truth)
        if layout == "stack":
            return cls(shape[1:] if len(shape) == 4 else (1, *shape[1:]), shape[0], truth)
        return cls((1, *shape) if len(shape) == 2 else tuple(shape), 1, truth)


def layout_of(shape: tuple[int, ...], name: str, wanted: str | None = None) -> str:
    """Tell what the axes of an array are: `bands`, `stack` or `channels-last`.

    Raises:
        InputError: the rank is not that of images, or does not fit the layout that is asked for.
    """
    rank = len(shape)
    if rank not in (2, 3, 4):
        raise InputError(f"{name} has {rank} axes {tuple(shape)}: an image has 2 (y, x) or 3 (bands, y, x)")
    if rank == 4:
        return "stack"
    if rank == 2:
        return "bands"
    if wanted is not None:
        return wanted
    if shape[2] in (3, 4) and min(shape[:2]) > BANDS_AT_MOST:
        return "channels-last"
    return "bands" if shape[0] <= BANDS_AT_MOST else "stack"


def images_of(
    array: np.ndarray,
    path: Path,
    options: Options,
    *,
    name: str = "",
    truth: Mapping[str, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[Record]:
    """Iterate over the images of an array, which may be mapped from disk.

    The id of a record is what has to be appended to the file's: nothing for the only image of a file, else `[name]`,
    `[number]` or `[name,number]`, where `name` is a part of the file, such as an extension.

    Raises:
        InputError: the array is no image; see `as_image`.
    """
    where = f"{path}[{name}]" if name else str(path)
    layout = layout_of(array.shape, where, options.layout)
    if array.size == 0:
        raise InputError(f"{where} has no pixel, its shape is {array.shape}: leave it out")
    if layout == "channels-last":
        array = np.moveaxis(array, -1, 0)
    digits = len(str(len(array) - 1))
    parts = ((f"{i:0{digits}d}", part) for i, part in enumerate(array)) if layout == "stack" else [("", array)]
    for number, part in parts:
        label = ",".join(filter(None, (name, number)))
        where = f"{path}[{label}]" if label else str(path)
        image, noticed = as_image(np.asarray(part), where, options.fill, options.mask, options.largest)
        noticed |= {"layout": layout} if layout != "bands" else {}
        noticed |= dict(metadata or {})
        yield Record(f"[{label}]" if label else "", image, None, dict(truth or {}), str(path), None, noticed)
