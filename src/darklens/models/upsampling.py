"""Sharper images without learning: interpolation, and deconvolution with a known PSF. What every network has to beat.

All map (B, bands, h, w) to (B, bands, scale h, scale w), pixels aligned as areas: a coarse one covers `scale^2` fine ones. Values
are those of the coarse pixels; `gain` turns them into those of fine ones (1/scale^2 where both are fluxes a pixel, 1 where both are
surface brightnesses).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

CLASSICAL = ("bicubic", "lanczos", "richardson-lucy")
"""Methods of `upsampled`, the reference first."""
LOBES = 3
ITERATIONS = (1, 3, 10, 30)
"""Of Richardson-Lucy, to choose from: more sharpen the light and the noise."""


def upsampled(
    low: Tensor, scale: int, method: str = "bicubic", *, gain: float = 1.0, blur: float = 0.0, iterations: int = 10
) -> Tensor:
    """Return images on finer pixels.

    Args:
        low: (B, bands, h, w).
        scale: fine pixels along the side of a coarse one.
        method: of `CLASSICAL`.
        gain: value of a fine pixel for that of a coarse one.
        blur: of richardson-lucy: deviation in fine pixels of the Gaussian by which the coarse image's PSF is wider.
        iterations: of richardson-lucy.
    """
    if method == "bicubic":
        return gain * interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    if method == "lanczos":
        return gain * lanczos(low, scale)
    return gain * richardson_lucy(low, scale, blur, iterations)


def lanczos(low: Tensor, scale: int) -> Tensor:
    """Interpolate with the windowed sinc of three lobes (Duchon 1979); the border is repeated."""
    rows, columns = (_weights(side, scale).to(low) for side in low.shape[-2:])
    return rows @ low @ columns.T


@functools.lru_cache(maxsize=16)
def _weights(side: int, scale: int) -> Tensor:
    """Return (scale side, side) weights of coarse pixels for fine ones, each row of sum one."""
    centres = (torch.arange(scale * side, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centres).long() - LOBES + 1
    weights = torch.zeros(scale * side, side, dtype=torch.float64)
    for k in range(2 * LOBES):
        distance = centres - (first + k)
        taps = torch.sinc(distance) * torch.sinc(distance / LOBES)
        weights.scatter_add_(1, (first + k).clamp(0, side - 1)[:, None], taps[:, None])
    return weights / weights.sum(1, keepdim=True)


def richardson_lucy(low: Tensor, scale: int, blur: float, iterations: int) -> Tensor:
    """Deconvolve (Richardson 1972; Lucy 1974): the image whose blurred and binned version is the coarse one, light kept positive.

    The faintest pixel is lifted above zero for the iterations, which only know counts, and the level taken off again. They begin
    with the bicubic image, and have to stop early, since more of them amplify the noise.
    """
    flat = low.flatten(2)
    lowest, highest = (found[..., None, None] for found in (flat.amin(-1), flat.amax(-1)))
    lift = 1e-3 * (highest - lowest) + 1e-12 - lowest
    data = low + lift
    estimate = interpolate(data, scale_factor=scale, mode="bicubic", align_corners=False).clamp_min(1e-12)
    for _ in range(iterations):
        ratio = data / avg_pool2d(blurred(estimate, blur), scale).clamp_min(1e-12)
        estimate = estimate * blurred(interpolate(ratio, scale_factor=scale, mode="nearest"), blur)
    return estimate - lift


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of this deviation in pixels; the border is repeated."""
    if sigma <= 0:
        return images
    radius = max(1, math.ceil(4 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(images)
    taps = taps / taps.sum()
    flat = images.flatten(0, 1)[:, None]
    for axis, shape in ((0, (1, 1, 1, -1)), (2, (1, 1, -1, 1))):
        padding = [radius, radius, 0, 0] if axis == 0 else [0, 0, radius, radius]
        flat = conv2d(pad(flat, padding, mode="replicate"), taps.view(shape))
    return flat[:, 0].view(images.shape)
