"""What shape of image a model takes: checked when it is built, and again when images arrive."""

from __future__ import annotations

from torch import Tensor

from darklens.errors import InputError


def check_size(size: int | tuple[int, int], minimum: int) -> tuple[int, int]:
    """Return (height, width) of the images that a model is built for.

    Raises:
        InputError: a side shorter than `minimum` pixels.
    """
    height, width = (size, size) if isinstance(size, int) else (int(side) for side in size)
    if min(height, width) < minimum:
        raise InputError(
            f"images of {height}x{width} pixels are too small for this model, which needs {minimum}x{minimum}: "
            "resize them or take another model"
        )
    return height, width


def check_images(images: Tensor, bands: int, size: tuple[int, int]) -> None:
    """Refuse images of another shape than (B, bands, height, width).

    Raises:
        InputError: wrong rank, bands or size; the text names both shapes.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (bands, *size):
        raise InputError(
            f"images of shape {tuple(images.shape)} do not fit a model of (batch, {bands}, {size[0]}, {size[1]}): "
            "resize them, or build the model for their bands and size"
        )
