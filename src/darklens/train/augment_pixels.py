"""Augmentation of brightness, sharpness, noise and content: batches at once, each image its own way; `augment` calls these.

Every function draws its choices for the whole batch and uses those of its own part, so that an image is changed in the same way on
any number of processes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, one_hot, pad

from darklens.errors import InputError
from darklens.models import sky_and_noise

CUTMIX = 0.5
"""Fraction of the images that `cutmix` cuts into; the others stay whole (Yun et al. 2019, sect. 4.1)."""

Share = tuple[slice, int]
"""Which part of how many images."""


def recolour(images: Tensor, most: float, generator: torch.Generator, share: Share) -> Tensor:
    """Multiply each band `(B, bands, H, W)` of each image by a factor of its own, between 1 - most and 1 + most."""
    part, count = share
    factor = 1 + most * (2 * torch.rand(count, images.shape[1], generator=generator)[part] - 1)
    return images * factor.to(images)[:, :, None, None]


def blur(images: Tensor, most: float, generator: torch.Generator, share: Share) -> Tensor:
    """Convolve each image with a Gaussian of its own, alike in all bands, of deviation 0 to `most` pixels: a worse seeing."""
    part, count = share
    sigma = (most * torch.rand(count, generator=generator)[part]).to(images).clamp_min(1e-3)
    radius = max(1, round(3 * most))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)[:, None]
    flat = pad(images, (radius,) * 4, mode="replicate").flatten(0, 1)[None]  # every band of every image is a channel of its own
    flat = conv2d(conv2d(flat, taps[..., None], groups=len(taps)), taps[:, :, None], groups=len(taps))
    return flat[0].unflatten(0, images.shape[:2])


def add_noise(images: Tensor, most: float, generator: torch.Generator, share: Share) -> Tensor:
    """Add white noise to each image, 0 to `most` times the deviation that each of its bands has already."""
    part, count = share
    factor = most * torch.rand(count, generator=generator)[part].to(images)
    noise = torch.randn(count, *images.shape[1:], generator=generator)[part].to(images)
    return images + factor[:, None, None, None] * sky_and_noise(images)[1].to(images) * noise


def cutmix(images: Tensor, labels: Tensor, classes: int, generator: torch.Generator, share: Share) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of one image into another, and mix their labels by area (Yun et al. 2019, arXiv:1905.04899, eq. 1 and 2).

    Neighbours in the batch, which is in random order, are partners. The rectangle covers a uniform fraction of the field before it
    is cut off at the border.

    Args:
        images: `(B, bands, H, W)`.
        labels: `(B,)` class indices.
        classes: how many there are.
        generator: source of every choice.
        share: which part of the batch these are.

    Returns:
        New images, and labels `(B, classes)` that add up to one in every row.

    Raises:
        InputError: two partners are in the hands of two processes.
    """
    part, count = share
    start, stop, _ = part.indices(count)
    if start % 2 or (stop % 2 and stop < count):
        raise InputError(
            f"cutmix pairs neighbours, and a batch of {count} is cut between images {start} to {stop}: "
            "set train.batch_size to a multiple of twice the number of processes"
        )
    drawn = torch.rand(4, count, generator=generator)[:, part].to(images.device)
    partner = torch.arange(len(images), device=images.device) ^ 1
    partner = torch.where(partner < len(images), partner, partner - 1)  # the last of an odd batch has none and stays whole
    side = (1 - drawn[1]).sqrt() / 2 * (drawn[0] < CUTMIX)
    rows, columns = (
        _between((centre - side) * length, (centre + side) * length, length)
        for centre, length in zip(drawn[2:], images.shape[-2:], strict=True)
    )
    inside = rows[:, :, None] & columns[:, None, :]
    kept = 1 - inside.to(images.dtype).mean((-2, -1))
    target = one_hot(labels, classes).to(images.dtype)
    mixed = kept[:, None] * target + (1 - kept)[:, None] * target[partner]
    return torch.where(inside[:, None], images[partner], images), mixed


def _between(low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return `(B, length)` which pixels of a side lie between two places `(B,)`, rounded."""
    place = torch.arange(length, device=low.device)
    return (place >= low.round()[:, None]) & (place < high.round()[:, None])
