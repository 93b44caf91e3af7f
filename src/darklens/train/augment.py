"""Augmentation on tensors: whole batches at once, each image its own way, reproducible from a generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from darklens.train import augment_pixels
from darklens.train.config import TrainConfig


def augmented(
    images: Tensor, labels: Tensor, classes: int, settings: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
) -> tuple[Tensor, Tensor]:
    """Return images and labels of a training batch as a recipe wants them augmented.

    Args:
        images: `(B, bands, H, W)`.
        labels: `(B,)` class indices.
        classes: how many there are.
        settings: the recipe's section; the words of `augment`, and what the largest changes are.
        generator: source of every choice.
        share: which part of how many images these are.

    Returns:
        Images of the same shape; labels as they were, or `(B, classes)` where `cutmix` has mixed them.

    Raises:
        InputError: `cutmix` with a batch that processes cannot share in pairs.
    """
    kinds = settings.augment
    images = augment(images, kinds, generator, settings.max_shift, max_rotation=settings.max_rotation, share=share)
    if "blur" in kinds and settings.max_blur:
        images = augment_pixels.blur(images, settings.max_blur, generator, share)
    if "colour" in kinds and settings.max_gain:
        images = augment_pixels.recolour(images, settings.max_gain, generator, share)
    if "noise" in kinds and settings.max_noise:
        images = augment_pixels.add_noise(images, settings.max_noise, generator, share)
    return augment_pixels.cutmix(images, labels, classes, generator, share) if "cutmix" in kinds else (images, labels)


def augment(
    images: Tensor,
    kinds: Sequence[str],
    generator: torch.Generator,
    max_shift: int = 2,
    *,
    max_rotation: float = 30.0,
    share: tuple[slice, int] | None = None,
) -> Tensor:
    """Turn, mirror and shift the images of a batch; words of a recipe that change more than the place of a pixel are passed over.

    Args:
        images: `(B, bands, H, W)`.
        kinds: any of "dihedral" (the eight symmetries of the square), "rotate90" (rotations alone), "flip" (left-right and
            up-down), "rotate" (by any angle, bilinear), "shift" (whole pixels, wrapped at the border, where these images are
            empty).
        generator: source of every choice.
        max_shift: largest shift in pixels.
        max_rotation: largest angle of "rotate" in degrees, either way.
        share: where several processes share a batch, which part of how many images these are: all choices are drawn for the whole
            batch, so that an image is changed in the same way on any number of processes.

    Returns:
        A new batch of the same shape (images that are not square are only flipped and turned by 180 degrees).
    """
    part, count = share or (slice(None), len(images))
    draw = torch.randint(0, 2, (3, count), generator=generator)[:, part].bool().to(images.device)
    if {"dihedral", "flip"} & set(kinds):
        images = _where(draw[0], images.flip(-1), images)
        images = _where(draw[1], images.flip(-2), images)
    elif "rotate90" in kinds:
        images = _where(draw[0], images.flip((-1, -2)), images)
    if {"dihedral", "rotate90"} & set(kinds) and images.shape[-1] == images.shape[-2]:
        turned = images.transpose(-1, -2)
        images = _where(draw[2], turned if "dihedral" in kinds else turned.flip(-1), images)
    if "rotate" in kinds and max_rotation:
        images = _rotate(images, max_rotation * (2 * torch.rand(count, generator=generator)[part] - 1))
    if "shift" in kinds and max_shift:
        images = _shift(images, torch.randint(-max_shift, max_shift + 1, (2, count), generator=generator)[:, part])
    return images


def _where(choice: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(choice[:, None, None, None], yes, no)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre by an angle of its own; corners repeat the border, so that no edge shows."""
    height, width = images.shape[-2:]
    angle = torch.deg2rad(degrees).to(images)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # `affine_grid` measures both axes from -1 to 1: the sides' ratio keeps angles right on images that are not square
    rows = torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _shift(images: Tensor, shifts: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    dy, dx = shifts.to(images.device)
    rows = (torch.arange(height, device=images.device) - dy[:, None]) % height
    columns = (torch.arange(width, device=images.device) - dx[:, None]) % width
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, -1)[batch, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
