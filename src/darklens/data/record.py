"""The record: one image as it was read, with what is known about it.

Images are float32 `(bands, y, x)`, the row index growing with +y. What the file held instead (float64, integers, big-
endian bytes, no band axis) is noted in `metadata`, so that an import can say what it converted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from darklens.errors import InputError

BANDS_AT_MOST = 10
"""The longest leading axis that is taken for bands; a longer one is taken for a stack of images."""

MEND = "mend them, leave the file out, or put a value there with darklens import --fill 0"
LARGEST = 1e15
"""Pixel value beyond which sums of squares over an image may overflow in single precision."""
MISSING_AT_MOST = 0.5
"""Share of a band's pixels that may be filled; an image that lacks more is refused."""


@dataclass(frozen=True, eq=False)
class Record:
    """One image and what is known about it.

    Args:
        id: unique within what was read: the path relative to its root, without suffix.
        image: float32 `(bands, y, x)`, every pixel finite.
        label: class name, or None where unknown.
        truth: what the image was made from, in the units of `darklens.units`.
        source: path of the file it came from.
        split: `train`, `val`, `test`, or None.
        metadata: `dtype` and `range` of the stored numbers, and what else the reader noticed: `bands` (their names, in order),
            `filled` (number of pixels), `note`.
    """

    id: str
    image: np.ndarray = field(repr=False)
    label: str | None = None
    truth: dict[str, float] = field(default_factory=dict)
    source: str = ""
    split: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """Type of the numbers as they were stored, for example `float64`."""
        return self.metadata.get("dtype", str(self.image.dtype))

    @property
    def content_hash(self) -> str:
        """Hash of shape and pixels: equal for equal images, whatever their names."""
        return content_hash(self.image)

    def with_(self, **changes: Any) -> Record:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def content_hash(image: np.ndarray) -> str:
    """Return the SHA-256 of an image's shape and pixels, in hexadecimal."""
    pixels = np.ascontiguousarray(image, dtype="<f4")
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def as_image(
    array: np.ndarray, name: str, fill: float | str | None = None, mask: float | None = None, largest: float | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Turn stored numbers into an image.

    Args:
        array: `(y, x)` or `(bands, y, x)` of any real type and byte order.
        name: what to call it in an error.
        fill: what to put where a pixel is not finite or masked: a value, `border` (the default, see `border_level`), or
            `refuse` for no such image at all.
        mask: value that marks masked pixels, where the file has one.
        largest: size of the largest value that is taken; `LARGEST` where it is None.

    Returns:
        The image, float32 `(bands, y, x)`, and metadata: `dtype`, `range`, and `filled`, the number of pixels, if any was.

    Raises:
        InputError: wrong rank, no pixel, no real numbers, values that are too large, or too many pixels to fill.
    """
    if array.ndim not in (2, 3):
        raise InputError(f"{name} has {array.ndim} axes {array.shape}: an image has 2 (y, x) or 3 (bands, y, x)")
    if array.size == 0:
        raise InputError(f"{name} has no pixel, its shape is {array.shape}: leave it out")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype} values: an image holds real numbers, so save it as float32")
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(array, dtype=np.float32)
        missing = None if mask is None else np.float32(mask)
    metadata: dict[str, Any] = {"dtype": array.dtype.name}
    image = image.reshape(-1, *image.shape[-2:])
    values = array.reshape(image.shape)
    present = np.isfinite(values)  # a number that single precision does not hold is there, and too large
    if missing is not None:
        present &= image != missing
    check_range(max(abs(float(end(values, where=present, initial=0))) for end in (np.max, np.min)), name, largest)
    present &= np.isfinite(image)
    bad = image.size - int(np.count_nonzero(present))
    if bad:
        what = f"{name} has {bad} of {image.size} pixels that are not finite{'' if mask is None else ' or masked'}"
        image = _filled(image, present, what, fill)
        metadata["filled"] = bad
    metadata["range"] = (float(image.min()), float(image.max()))
    return image, metadata


def check_range(value: float, name: str, largest: float | None = None) -> None:
    """Make sure that the values of an image can be squared and summed.

    Args:
        value: size of the largest.
        name: what to call the image in an error.
        largest: that is taken; `LARGEST` where it is None.

    Raises:
        InputError: they cannot.
    """
    if value > (LARGEST if largest is None else largest):
        raise InputError(
            f"{name} has values up to {value:.2g}, and sums of squares hold in single precision up to {LARGEST:.0e}: "
            "check its unit and the scale in its header, or put NaN where a pixel is missing"
        )


def _filled(image: np.ndarray, present: np.ndarray, what: str, fill: float | str | None) -> np.ndarray:
    if fill == "refuse":
        raise InputError(f"{what}: {MEND}")
    if fill not in (None, "border"):
        return np.where(present, image, np.float32(fill))
    if (1 - present.mean(axis=(1, 2)) > MISSING_AT_MOST).any():
        raise InputError(f"{what}: over {MISSING_AT_MOST:.0%} of a band, so {MEND}")
    levels = [border_level(band, there) for band, there in zip(image, present, strict=True)]
    return np.where(present, image, np.array(levels, np.float32)[:, None, None])


def border_level(band: np.ndarray, present: np.ndarray) -> float:
    """Return the level that stands for a missing pixel: the median of the frame, a tenth of the side wide, where it is there.

    The frame of a cutout is mostly sky: a hole filled with its level looks like a place where there is nothing. Where the
    whole frame is missing, it is the median of the band.

    Args:
        band: `(y, x)`.
        present: `(y, x)`, False where a pixel is missing.
    """
    width = max(1, min(band.shape) // 10)
    frame = np.ones(band.shape, dtype=bool)
    frame[width:-width, width:-width] = False
    known = frame & present
    return float(np.median(band[known if known.any() else present]))


def add_note(metadata: dict[str, Any], note: str) -> dict[str, Any]:
    """Return metadata with a note more; notes are joined by semicolons."""
    return metadata | {"note": "; ".join(filter(None, (metadata.get("note"), note)))}


def with_blank_bands_noted(record: Record) -> Record:
    """Note which bands of an image are zero in every pixel, as they are where a survey has not looked."""
    blank = [k for k, band in enumerate(record.image) if not band.any()]
    if not blank:
        return record
    names = record.metadata.get("bands") or [str(k) for k in range(len(record.image))]
    notes = [f"band {names[k]} is all zero" for k in blank] if len(names) > 1 else ["all pixels are zero"]
    return record.with_(metadata=add_note(record.metadata, "; ".join(notes)))
