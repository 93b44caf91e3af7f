"""Augmentation on tensors: whole batches at once, each image its own way, reproducible from a generator."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images: Tensor, kinds: list[str], generator: torch.Generator, max_shift: int = 2) -> Tensor:
    """Augment a batch.

    Args:
        images: `(B, bands, H, W)`.
        kinds: any of "dihedral" (the eight symmetries of the square), "rotate90" (rotations alone), "flip" (left-right and
            up-down), "shift" (whole pixels, wrapped at the border, where these images are empty).
        generator: source of every choice.
        max_shift: largest shift in pixels.

    Returns:
        A new batch of the same shape (images that are not square are only flipped and turned by 180 degrees).
    """
    count = len(images)
    draw = torch.randint(0, 2, (3, count), generator=generator).bool().to(images.device)
    if {"dihedral", "flip"} & set(kinds):
        images = _where(draw[0], images.flip(-1), images)
        images = _where(draw[1], images.flip(-2), images)
    elif "rotate90" in kinds:
        images = _where(draw[0], images.flip((-1, -2)), images)
    if {"dihedral", "rotate90"} & set(kinds) and images.shape[-1] == images.shape[-2]:
        turned = images.transpose(-1, -2)
        images = _where(draw[2], turned if "dihedral" in kinds else turned.flip(-1), images)
    if "shift" in kinds and max_shift:
        images = _shift(images, torch.randint(-max_shift, max_shift + 1, (2, count), generator=generator))
    return images


def _where(choice: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(choice[:, None, None, None], yes, no)


def _shift(images: Tensor, shifts: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    dy, dx = shifts.to(images.device)
    rows = (torch.arange(height, device=images.device) - dy[:, None]) % height
    columns = (torch.arange(width, device=images.device) - dx[:, None]) % width
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, -1)[batch, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
