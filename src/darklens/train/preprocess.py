"""From recorded images to network input, and the checks that stand before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from darklens.data.record import check_range
from darklens.errors import InputError
from darklens.fit.evidence import CHANNELS
from darklens.models import small_structures
from darklens.models.pinn import LENS
from darklens.train.config import Preprocess


def check(image: np.ndarray, shape: tuple[int, int, int], name: str, *, resizable: bool = True) -> np.ndarray:
    """Make sure that an image is like those that a model was trained on.

    Args:
        image: `(bands, H, W)` or `(H, W)`.
        shape: `(bands, H, W)` of the model's training images.
        name: what to call the image in an error.
        resizable: whether whoever asks can have images resampled.

    Returns:
        `(bands, H, W)` float32.

    Raises:
        InputError: wrong rank, number of bands, size, or values that are not finite or too large to be squared.
    """
    image = np.asarray(image, dtype=np.float32)
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3:
        raise InputError(f"{name} has {image.ndim} axes: an image has 2 (y, x) or 3 (band, y, x); select one image of it")
    if image.shape[0] != shape[0]:
        remedy = "choose the bands it needs, in its order, with --bands"
        bands = "1 band" if image.shape[0] == 1 else f"{image.shape[0]} bands"
        raise InputError(f"{name} has {bands} and the model was trained on {shape[0]}: {remedy}")
    if bad := int((~np.isfinite(image)).sum()):
        raise InputError(f"{name} has {bad} pixels that are not finite numbers (of {image.size}): repair or mask them first")
    check_range(float(np.abs(image).max(initial=0)), name)
    if image.shape[1:] != tuple(shape[1:]):
        remedy = "accept resampling with --resize" if resizable else "train on pairs of that size"
        raise InputError(
            f"{name} is {image.shape[1]}x{image.shape[2]} pixels and the model was trained on {shape[1]}x{shape[2]}: "
            f"cut it to that size, or {remedy}"
        )
    return image


def check_bands(own: Sequence[str] | None, wanted: Sequence[str], name: str) -> None:
    """Make sure that a band that images and training images share stands in the same place; bands of another survey may stand in.

    Args:
        own: names of an image's bands, where they are known.
        wanted: names of the bands of the model's training images, none where they are not known.
        name: what to call the image in an error.

    Raises:
        InputError: a band stands in another place.
    """
    places = {band: k for k, band in enumerate(wanted)}
    if own and any(places.get(band, k) != k for k, band in enumerate(own)):
        order = ",".join(wanted)
        raise InputError(
            f"{name} has bands {','.join(own)} and the model was trained on {order}: put them in that order with --bands {order}"
        )


def prepare(images: Tensor, settings: Preprocess) -> Tensor:
    """Crop, bin, stretch and normalise.

    Args:
        images: `(B, bands, H, W)`; the residual stands before the bands of the image, or in their place, or the maps of
            `darklens.fit.evidence` do, as `settings.input` says; the planes of columns stand behind them.
        settings: the recipe's section.

    Returns:
        `(B, bands, h, w)`; an image without contrast becomes zeros. Residuals keep their unit: they are never normalised; columns
        stay as they are.
    """
    if not settings.columns:
        return _prepare_bands(images, settings)
    bands = images.shape[1] - len(settings.columns)
    prepared, planes = _prepare_bands(images[:, :bands], settings), images[:, bands:, :1, :1]
    return torch.cat([prepared, planes.expand(-1, -1, *prepared.shape[-2:])], dim=1)


def bands_alone(augment: Callable[..., tuple[Tensor, Tensor]], settings: Preprocess) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return an augmentation `(inputs, targets, ...)` that leaves the planes of columns, which are numbers, as they are."""
    if not settings.columns:
        return augment

    def of_bands(inputs: Tensor, targets: Tensor, *more: Any) -> tuple[Tensor, Tensor]:
        bands, planes = inputs.tensor_split([-len(settings.columns)], dim=1)
        bands, targets = augment(bands, targets, *more)
        return torch.cat([bands, planes], dim=1), targets

    return of_bands


def _prepare_bands(images: Tensor, settings: Preprocess) -> Tensor:
    if settings.input == "image":
        return _prepare_image(images, settings)
    if settings.input == "evidence":
        return _prepare_evidence(images)
    residual = _prepare_residual(images[:, :1], settings)
    if settings.input == "residual":
        return residual
    if settings.input == "both":
        return torch.cat([residual, _prepare_image(images[:, 1:], settings)], dim=1)
    planes = images[:, -len(LENS) :, :1, :1].expand(-1, -1, *residual.shape[-2:])
    return torch.cat([residual, _prepare_image(images[:, 1 : -len(LENS)], settings), planes], dim=1)


def _prepare_residual(residual: Tensor, settings: Preprocess) -> Tensor:
    if settings.crop is not None:
        residual = central(residual, settings.crop)
    if settings.bin > 1:
        residual = avg_pool2d(residual, settings.bin) * settings.bin  # the mean of n values of unit scatter has 1/sqrt(n)
    return residual.clamp(-settings.limit, settings.limit)


def _prepare_evidence(maps: Tensor) -> Tensor:
    """Bring all maps to about unit range, strong signals compressed; crop and bin have been done."""
    residual, significance, slope, sensitivity, model = maps.unbind(1)
    compressed = 0.9 * torch.asinh(residual / 3), 0.9 * torch.asinh(significance / 6)
    return torch.stack([*compressed, 0.5 * slope, 0.4 * sensitivity, model], 1)


def _prepare_image(images: Tensor, settings: Preprocess) -> Tensor:
    if settings.crop is not None:
        images = central(images, settings.crop)
    if settings.bin > 1:
        images = avg_pool2d(images, settings.bin)
    images = _stretched(images, settings)
    if settings.detail is not None:
        images = small_structures(images, settings.detail)
    if settings.normalise == "none":
        return images
    if settings.normalise == "standard":
        images = images - images.mean((-2, -1), keepdim=True)
        return images / images.std((-2, -1), keepdim=True).clamp_min(1e-12)
    if settings.normalise in ("min-max", "signed"):
        images = images - images.amin((-2, -1), keepdim=True)
    images = images / images.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(images.dtype).tiny)
    return 2 * images - 1 if settings.normalise == "signed" else images


def _stretched(images: Tensor, settings: Preprocess) -> Tensor:
    if settings.stretch == "linear":
        return images
    images = images - images.amin((-2, -1), keepdim=True)
    tiny = torch.finfo(images.dtype).tiny
    if settings.stretch == "sqrt":
        return images.sqrt()
    if settings.stretch == "asinh":
        return torch.asinh(images / images.mean((-2, -1), keepdim=True).clamp_min(tiny))
    return torch.log(images / images.amax((-2, -1), keepdim=True).clamp_min(tiny) + settings.floor)


def central(images: Tensor, size: int) -> Tensor:
    """Return the central square.

    Raises:
        InputError: the images are smaller than that.
    """
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise InputError(f"crop {size} is larger than the image ({height}x{width}): lower train.crop")
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size]


def scale_of(described: Mapping[str, Any]) -> float:
    """Return arcsec a pixel of a network's images, 1 where `model.json` says that nobody knows: lengths are then in pixels."""
    return described["pixel_scale"] or 1.0


def network_shape(shape: tuple[int, int, int], settings: Preprocess) -> tuple[int, int, int]:
    """Return `(bands, h, w)` as the network sees it, without the planes of columns."""
    bands, height, width = shape if settings.crop is None else (shape[0], settings.crop, settings.crop)
    many = {"image": bands, "residual": 1, "both": bands + 1, "lens": bands + 1 + len(LENS), "evidence": len(CHANNELS)}
    bands = many[settings.input]
    return bands, height // settings.bin, width // settings.bin
