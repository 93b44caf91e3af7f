"""What shows a faint arc round a bright galaxy, made from the image alone: noise units, colours, asymmetry, radius.

Lenses are found by eye in difference images: the band with the arc less the band with the galaxy, scaled so that the galaxy goes
(RingFinder; Gavazzi et al. 2014, arXiv:1403.1041), and in what is left of a galaxy when it is compared with itself turned by 180
degrees (the asymmetry of Conselice 2003, arXiv:astro-ph/0303065). Each is a plain function of the bands; in units of the noise, an
arc of five sigma looks alike in a band that spans ten sigma and in one that spans a thousand.

Everything commutes with the symmetries of the square, so that an equivariant network stays one.
"""

from __future__ import annotations

import torch
from torch import Tensor

CORE = 2.5
"""Deviation in pixels of the Gaussian that weighs the middle of the galaxy, where its colour is measured."""
SOFTENING = 3.0
"""Noise deviations up to which the stretch is linear."""


def contrast(images: Tensor) -> Tensor:
    """Return the maps in which arcs stand out.

    Args:
        images: `(B, bands, H, W)`, linear in flux in each band, whatever its zero and unit.

    Returns:
        `(B, channels(bands), H, W)`: each band, each band but the reddest less that one scaled to the galaxy's middle, each band
        less itself turned by 180 degrees, all in units of the noise on a logarithmic scale; and the distance from the middle.
    """
    images = images.float()
    sky, noise = sky_and_noise(images)
    signal = images - sky
    centre, radius = _centre(images)
    reference, others = signal[:, -1:], signal[:, :-1]
    ratio = (centre * others * reference).sum((-2, -1), True) / (centre * reference**2).sum((-2, -1), True).clamp_min(1e-12)
    spread = (noise[:, :-1] ** 2 + (ratio * noise[:, -1:]) ** 2).sqrt()
    colour = (others - ratio * reference) / spread
    asymmetry = (signal - signal.flip((-2, -1))) / (2**0.5 * noise)
    maps = torch.cat([signal / noise, colour, asymmetry], 1)
    compressed = maps.sign() * torch.log1p(maps.abs() / SOFTENING)  # as asinh, at half its cost
    return torch.cat([0.5 * compressed, radius.expand(images.shape[0], 1, -1, -1)], 1)


def channels(bands: int) -> int:
    """Return how many maps `contrast` makes of so many bands."""
    return 3 * bands


def sky_and_noise(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return level and deviation of the sky, `(B, bands, 1, 1)` each.

    The level is the median; the deviation that of a pixel about the mean of its four neighbours, which smooth light leaves alone:
    1.4826 times the median of its absolute values, less what white noise in the neighbours adds. Never below a thousandth of the
    image's range, for images without noise.
    """
    flat = images.flatten(2)
    sky = _median(flat)
    neighbours = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + (images[..., 1:-1, :-2] + images[..., 1:-1, 2:])
    rough = _median((images[..., 1:-1, 1:-1] - neighbours / 4).abs().flatten(2))
    noise = 1.4826 * rough / 1.25**0.5
    floor = 1e-3 * (flat.amax(-1) - flat.amin(-1))
    return sky[..., None, None], torch.maximum(noise, floor).clamp_min(1e-6)[..., None, None]


def _median(values: Tensor) -> Tensor:
    """Return the lower median along the last axis; by sorting where a graph is traced, since ONNX knows no median."""
    if torch.compiler.is_compiling():
        return values.sort(-1).values[..., (values.shape[-1] - 1) // 2]
    return values.median(-1).values


def _centre(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the middle, and the distance from it in units of half the longer side."""
    y, x = (torch.arange(side, device=images.device) - (side - 1) / 2 for side in images.shape[-2:])
    square = y[:, None] ** 2 + x[None, :] ** 2
    return torch.exp(-0.5 * square / CORE**2), (square.sqrt() / (max(images.shape[-2:]) / 2))[None, None]
