"""SRResNet and EDSR: residual blocks on the coarse pixels, then a pixel shuffle.

Ledig et al. 2017 (arXiv:1609.04802) and Lim et al. 2017 (arXiv:1707.02921), both without batch normalisation, which would forget
how bright an image is. Values are divided by one number for all images, `unit`, and multiplied by it again in the end: no image is
normalised by itself, nor by its sharp partner, and the network answers in the unit of its input.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from darklens.errors import InputError


class SRResNet(nn.Module):
    """Coarse images (B, bands, h, w) to fine ones (B, bands, scale h, scale w).

    Args:
        bands: of the images.
        scale: fine pixels along the side of a coarse one.
        gain: value of a fine pixel for that of a coarse one.
        unit: typical bright value of the coarse images.
        blocks: residual blocks.
        width: channels.

    Raises:
        InputError: a scale below 2.
    """

    summary = "residual blocks and a pixel shuffle, as published: 16 blocks of 64 channels, no batch norm, 1.3 M parameters"
    task = "super-resolution"
    tiny: ClassVar = {"blocks": 2, "width": 16}

    def __init__(
        self, bands: int = 1, *, scale: int = 2, gain: float = 1.0, unit: float = 1.0, blocks: int = 16, width: int = 64
    ) -> None:
        super().__init__()
        self.before, self.after = 1 / unit, unit * gain
        self.head = nn.Sequential(nn.Conv2d(bands, width, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(Residual(width, nn.PReLU()) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.tail = nn.Sequential(*shuffles(width, scale, nn.PReLU), nn.Conv2d(width, bands, 9, padding=4))

    def forward(self, low: Tensor) -> Tensor:
        """Return the fine images."""
        maps = self.head(low * self.before)
        return self.tail(maps + self.body(maps)) * self.after


class EDSR(nn.Module):
    """The same with ReLU, kernels of 3 and residuals scaled by 0.1, smaller: 8 blocks of 32 channels. Arguments as `SRResNet`."""

    summary = "EDSR, lite: 8 residual blocks of 32 channels scaled by 0.1, a pixel shuffle, 0.2 M parameters"
    task = "super-resolution"

    def __init__(
        self, bands: int = 1, *, scale: int = 2, gain: float = 1.0, unit: float = 1.0, blocks: int = 8, width: int = 32
    ) -> None:
        super().__init__()
        self.before, self.after = 1 / unit, unit * gain
        self.head = nn.Conv2d(bands, width, 3, padding=1)
        self.body = nn.Sequential(
            *(Residual(width, nn.ReLU(inplace=True), 0.1) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1)
        )
        self.tail = nn.Sequential(*shuffles(width, scale, nn.Identity), nn.Conv2d(width, bands, 3, padding=1))

    def forward(self, low: Tensor) -> Tensor:
        """Return the fine images."""
        maps = self.head(low * self.before)
        return self.tail(maps + self.body(maps)) * self.after


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int, activation: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.layers = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), activation, nn.Conv2d(width, width, 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        return maps + self.weight * self.layers(maps)


def shuffles(width: int, scale: int, activation: type[nn.Module]) -> list[nn.Module]:
    """Return the layers that make fine pixels of channels; powers of two are taken one by one, as published.

    Raises:
        InputError: a scale below 2.
    """
    if scale < 2:
        raise InputError(f"a scale of {scale} makes nothing finer: give at least 2")
    steps = int(math.log2(scale)) if scale & (scale - 1) == 0 else 1
    factor = 2 if scale & (scale - 1) == 0 else scale
    layers: list[nn.Module] = []
    for _ in range(steps):
        layers += [nn.Conv2d(width, width * factor**2, 3, padding=1), nn.PixelShuffle(factor), activation()]
    return layers
