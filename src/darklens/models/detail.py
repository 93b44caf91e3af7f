"""The small structures of an image: what a Gaussian blur takes away.

Substructure is a small disturbance of a large smooth picture. Without the picture, networks learn the disturbance in a tenth of the
steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def small_structures(images: Tensor, sigma: float) -> Tensor:
    """Subtract a Gaussian blur.

    Args:
        images: `(B, bands, H, W)`.
        sigma: deviation of the blur in pixels; it reaches 3 sigma, and borders are repeated beyond the field.

    Returns:
        `(B, bands, H, W)`.
    """
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = taps / taps.sum()
    flat = pad(images.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    flat = conv2d(conv2d(flat, taps[None, None, :, None]), taps[None, None, None, :])
    return images - flat[:, 0].unflatten(0, images.shape[:2])
