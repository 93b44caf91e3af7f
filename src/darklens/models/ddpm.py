"""The published U-Net for images out of noise: 64 to 1,024 channels in four levels, time embedding 32, no attention.

One block a level and direction, as in the tutorial network that it goes back to: convolution, batch norm after the rectifier, the
time added to every channel, and a strided convolution to the next level. It knows neither classes nor parameters.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size


def sinusoids(position: Tensor, dim: int) -> Tensor:
    """Return `(B, dim)` sines and cosines of positions `(B,)`, with periods from 2 pi to 10,000 times that (arXiv:1706.03762)."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) / max(half - 1, 1) * torch.arange(half, device=position.device))
    angles = position.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class DDPM(nn.Module):
    """Noisy images (B, bands, H, W) at times (B,) to the noise in them, of their shape (Ho et al. 2020, arXiv:2006.11239, eq. 14).

    Args:
        bands: number of bands.
        size: height and width; multiples of 2 to the number of levels.
        widths: channels of the levels, the first at the full size.
        embedding: length of the time's embedding.

    Raises:
        InputError: a size that the levels do not divide.
    """

    task = "generation"
    summary = "the published diffusion U-Net, 64 to 1,024 channels, no attention, predicts the noise, 62 M parameters"
    tiny: ClassVar = {"widths": (8, 16, 32, 64, 128)}

    def __init__(
        self,
        bands: int = 1,
        size: int | tuple[int, int] = 64,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        embedding: int = 32,
    ) -> None:
        super().__init__()
        self.bands, self.size = bands, check_size(size, minimum=16)
        check_levels(self.size, len(widths) - 1)
        self.embedding = embedding
        self.time = nn.Sequential(nn.Linear(embedding, embedding), nn.ReLU())
        self.first = nn.Conv2d(bands, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(_Block(a, b, embedding, nn.Conv2d(b, b, 4, 2, 1)) for a, b in pairs)
        self.up = nn.ModuleList(_Block(2 * b, a, embedding, nn.ConvTranspose2d(a, a, 4, 2, 1)) for a, b in reversed(pairs))
        self.last = nn.Conv2d(widths[0], bands, 1)

    def forward(self, images: Tensor, time: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Return the noise; times from 0 to 1 stand for the 1,000 steps of the schedule, and conditions are not looked at."""
        check_images(images, self.bands, self.size)
        time = self.time(sinusoids(1000 * time, self.embedding))
        maps = self.first(images)
        kept = []
        for block in self.down:
            maps = block(maps, time)
            kept.append(maps)
        for block in self.up:
            maps = block(torch.cat([maps, kept.pop()], dim=1), time)
        return self.last(maps)


class _Block(nn.Module):
    """Two convolutions with the time between them, and a change of scale."""

    def __init__(self, before: int, width: int, embedding: int, change: nn.Module) -> None:
        super().__init__()
        self.time = nn.Linear(embedding, width)
        self.convolutions = nn.ModuleList([nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])
        self.change = change

    def forward(self, maps: Tensor, time: Tensor) -> Tensor:
        maps = self.norms[0](relu(self.convolutions[0](maps))) + relu(self.time(time))[:, :, None, None]
        return self.change(self.norms[1](relu(self.convolutions[1](maps))))


def check_levels(size: tuple[int, int], halvings: int) -> None:
    """Refuse a size that cannot be halved so often.

    Raises:
        InputError: a side that is no multiple of 2 to the number of halvings.
    """
    if any(side % 2**halvings for side in size):
        raise InputError(
            f"images of {size[0]}x{size[1]} pixels cannot be halved {halvings} times: "
            f"crop them to a multiple of {2**halvings} pixels with preprocess.crop"
        )
