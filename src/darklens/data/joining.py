"""Put images of one band each together to one image of several bands, on one pixel grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from darklens.data.record import Record, add_note
from darklens.data.resize import resize_image
from darklens.errors import InputError

SAME_SCALE = 0.01
"""Pixel scales that differ by less are the same grid: half a pixel at the corner of a 100-pixel cutout."""
SAME_FIELD = 0.05
"""Fields of view that differ by less are the same; cutouts of one size on the sky are rounded to whole pixels (20.0" and 19.8")."""


def joined(streams: Sequence[Iterator[Record]], bands: Sequence[str], name: str, size: tuple[int, int] | None) -> Iterator[Record]:
    """Iterate over the images whose bands come from several streams, the n-th of each together.

    Args:
        streams: images of one band, a stream a band.
        bands: names of the bands.
        name: what to call the object in an error.
        size: `(y, x)` to resample all bands to if their grids differ; without it that is refused.

    Raises:
        InputError: the streams differ in length, or the bands in their pixel grid.
    """
    count = 0
    while True:
        heads = [next(stream, None) for stream in streams]
        parts = [part for part in heads if part is not None]
        if not parts:
            return
        if ended := [band for band, part in zip(bands, heads, strict=True) if part is None]:
            raise InputError(f"{name} holds {count} images in band {ended[0]} and more in others: give as many of each, or --bands")
        yield _join(parts, bands, name, size)
        count += 1


def _join(parts: list[Record], bands: Sequence[str], name: str, size: tuple[int, int] | None) -> Record:
    for part, band in zip(parts, bands, strict=True):
        if len(part.image) != 1:
            raise InputError(f"{name} holds {len(part.image)} planes in band {band}: give one plane a band, or --layout stack")
    images = [part.image for part in parts]
    metadata = parts[0].metadata | {"bands": list(bands)}
    if not _one_grid(parts):
        if size is None:
            raise InputError(_grids(parts, bands, name))
        _check_fields(parts, bands, name)
        images = [resize_image(image, size) for image in images]
        metadata = add_note(metadata, f"bands resampled from several pixel grids to {size[0]}x{size[1]}")
        if scale := metadata.get("pixel_scale"):
            metadata["pixel_scale"] = scale * parts[0].image.shape[1] / size[0]
    image = np.concatenate(images)
    return parts[0].with_(image=image, metadata=_summed(metadata, parts) | {"range": (float(image.min()), float(image.max()))})


def _summed(metadata: dict[str, Any], parts: list[Record]) -> dict[str, Any]:
    """Count over the bands, and drop what holds for the first alone."""
    kept = {key: value for key, value in metadata.items() if key not in ("filter", "filled")}
    filled = sum(part.metadata.get("filled", 0) for part in parts)
    kept["dtype"] = ", ".join(dict.fromkeys(part.dtype for part in parts))
    return kept | ({"filled": filled} if filled else {})


def _one_grid(parts: list[Record]) -> bool:
    scales = [part.metadata["pixel_scale"] for part in parts if part.metadata.get("pixel_scale")]
    alike = not scales or max(scales) <= min(scales) * (1 + SAME_SCALE)
    return alike and len({part.image.shape for part in parts}) == 1


def _grids(parts: list[Record], bands: Sequence[str], name: str) -> str:
    grids = [f"{band} {_grid(part)}" for band, part in zip(bands, parts, strict=True)]
    alike = [band for band, part in zip(bands, parts, strict=True) if _grid(part) == _grid(parts[0])]
    return (
        f"{name} has bands on different pixel grids ({', '.join(grids)}): choose those of one grid, --bands {','.join(alike)}, "
        f"or resample all to one size with --resize"
    )


def _grid(part: Record) -> str:
    scale = part.metadata.get("pixel_scale")
    return "x".join(map(str, part.image.shape[1:])) + (f' at {scale:.3g}"' if scale else "")


def _check_fields(parts: list[Record], bands: Sequence[str], name: str) -> None:
    fields = [(p.image.shape[1] * s, p.image.shape[2] * s) for p in parts if (s := p.metadata.get("pixel_scale"))]
    if len(fields) < len(parts):
        return  # without pixel scales the bands are taken to show the same field
    for axis in zip(*fields, strict=True):
        if max(axis) > min(axis) * (1 + SAME_FIELD):
            seen = ", ".join(f'{band} {f[0]:.3g}"' for band, f in zip(bands, fields, strict=True))
            raise InputError(f"{name} has bands that show fields of different size ({seen}): cut them anew, or choose with --bands")


def choose(record: Record, wanted: Sequence[str]) -> Record:
    """Return an image with the bands that are asked for, by name if the record has names, else by number from 0.

    Raises:
        InputError: it has no such band.
    """
    names = record.metadata.get("bands") or [str(k) for k in range(len(record.image))]
    if "bands" not in record.metadata and len(names) == 1 and tuple(wanted) == (record.metadata.get("filter"),):
        return record
    lowered = {name.lower(): name for name in names} if len({name.lower() for name in names}) == len(names) else {}
    chosen = [band if band in names else lowered.get(band.lower()) for band in wanted]
    if missing := [band for band, name in zip(wanted, chosen, strict=True) if name is None]:
        known = "has bands" if "bands" in record.metadata else "names no bands, they are numbered"
        raise InputError(f"{record.source or record.id} {known} {', '.join(names)} and none is {missing[0]}: choose with --bands")
    image = np.ascontiguousarray(record.image[[names.index(name) for name in chosen]])
    return record.with_(image=image, metadata=record.metadata | {"bands": list(wanted)})
