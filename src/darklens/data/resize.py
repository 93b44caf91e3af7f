"""Resample an image to another number of pixels over the same field, keeping its total flux."""

from __future__ import annotations

import numpy as np

from darklens.errors import InputError


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an image bilinearly, averaging over the pixels that fall together when it shrinks.

    A pixel value is the flux of the pixel's area, so values scale with that area: `(bands, y, x)` -> `(bands, *size)`.

    Raises:
        InputError: the size is not positive.
    """
    import torch
    from torch.nn.functional import interpolate

    if min(size) < 1:
        raise InputError(f"images of {size[0]}x{size[1]} pixels are impossible: give a size of at least 1")
    if image.shape[-2:] == tuple(size):
        return image
    area = image.shape[-2] * image.shape[-1] / (size[0] * size[1])
    pixels = torch.from_numpy(np.array(image, order="C")[None])  # a copy: torch wants memory that may be written
    return interpolate(pixels, size, mode="bilinear", antialias=True)[0].numpy() * np.float32(area)
