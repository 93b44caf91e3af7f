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
        metadata: `dtype` and `range` of the stored numbers, and what else the reader noticed.
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


def as_image(array: np.ndarray, name: str, fill: float | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Turn stored numbers into an image.

    Args:
        array: `(y, x)` or `(bands, y, x)` of any real type and byte order.
        name: what to call it in an error.
        fill: value to put where a pixel is not finite; None refuses such an image.

    Returns:
        The image, float32 `(bands, y, x)`, and metadata: `dtype`, `range`, and `filled` if any pixel was.

    Raises:
        InputError: wrong rank, no pixel, no real numbers, or pixels that are not finite.
    """
    if array.ndim not in (2, 3):
        raise InputError(f"{name} has {array.ndim} axes {array.shape}: an image has 2 (y, x) or 3 (bands, y, x)")
    if array.size == 0:
        raise InputError(f"{name} has no pixel, its shape is {array.shape}: leave it out")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype} values: an image holds real numbers, so save it as float32")
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(array, dtype=np.float32)
    metadata: dict[str, Any] = {"dtype": array.dtype.name}
    finite = np.isfinite(image)
    bad = image.size - int(np.count_nonzero(finite))
    if bad and fill is None:
        raise InputError(
            f"{name} has {bad} of {image.size} pixels that are not finite: mend them, leave the file out, "
            "or give fill=0 to put a value there"
        )
    if bad:
        image = np.where(finite, image, np.float32(fill))
        metadata["filled"] = bad
    metadata["range"] = (float(image.min()), float(image.max()))
    return image.reshape(-1, *image.shape[-2:]), metadata
