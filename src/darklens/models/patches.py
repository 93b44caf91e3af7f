"""Images in patches: how a side that is no multiple of the patch is made one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

PATCH = 32  # pixels; the patch of every transformer that was published for these images


def padded_size(size: Sequence[int], patch: int = PATCH) -> tuple[int, int]:
    """Return (height, width) rounded up to whole patches."""
    height, width = (-(-side // patch) * patch for side in size)
    return height, width


def pad_to_patches(images: Tensor, patch: int = PATCH) -> Tensor:
    """Surround images with zeros, as evenly as pixels allow, up to whole patches; whole ones stay as they are.

    Args:
        images: `(B, bands, H, W)`.
        patch: side of a patch in pixels.

    Returns:
        `(B, bands, H', W')`, H' and W' multiples of the patch.
    """
    missing = [whole - side for whole, side in zip(padded_size(images.shape[-2:], patch), images.shape[-2:], strict=True)]
    if not any(missing):
        return images
    (top, bottom), (left, right) = ((gap // 2, gap - gap // 2) for gap in missing)
    return pad(images, (left, right, top, bottom))
