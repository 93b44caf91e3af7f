"""A residual network that is exactly blind to how an image lies on the sky, for lens finding in several bands.

Convolutions on the group p4m (`p4m`) share their weights over the eight symmetries of the square, so that one lens in training
teaches what eight would (P4M-ResNet; Cohen & Welling 2016, arXiv:1602.07576, sect. 8). Lenses are rare, and that is where it
counts. The network need not learn what can be computed: it sees the bands in units of their noise, colour differences in which the
galaxy in the middle goes, and what is left of that galaxy when it is compared with itself (`contrast`). Means and maxima over field
and orientations, of the last two stages, are its features: the logits of an image and of its mirror image are the same numbers, but
for the order of a few sums.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from darklens.errors import InputError, unknown
from darklens.models.contrast import channels, contrast
from darklens.models.p4m import GroupConv2d, GroupNorm, Lifting, halved, invariants
from darklens.models.shapes import check_images, check_size

MAPS = ("contrast", "bands")


class P4MResNet(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands; colours are measured against the last.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        widths: channels of the stages, each in eight orientations; every stage halves the map.
        blocks: residual blocks of each stage but the first, which is one convolution of the image.
        dropout: of the pooled features.
        maps: what the network sees: "contrast" (see above) or "bands" (the images as they are).

    Raises:
        InputError: image too small, fewer than two stages, a dropout outside [0, 1), or unknown maps.
    """

    summary = "residual network on the group p4m, exactly symmetric, for lenses in several bands, 0.04 M parameters"
    symmetric = True

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        widths: tuple[int, ...] = (4, 8, 12),
        blocks: int = 1,
        dropout: float = 0.1,
        maps: str = "contrast",
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        if len(widths) < 2 or min(widths) < 1 or blocks < 1:
            raise InputError(f"widths {tuple(widths)}, {blocks} blocks: give at least two stages of a channel and one block")
        if maps not in MAPS:
            raise unknown("maps", maps, MAPS)
        self.bands, self.size, self.maps = bands, check_size(size, minimum=32), maps
        seen = channels(bands) if maps == "contrast" else bands
        self.lifting = nn.Sequential(Lifting(seen, widths[0]), GroupNorm(widths[0]), nn.ReLU(inplace=True))
        stages = []
        for before, width in pairwise(widths):
            stages.append(nn.Sequential(_Widen(before, width), *(_Block(width) for _ in range(blocks))))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * (widths[-2] + widths[-1]), classes))

    def features(self, images: Tensor) -> Tensor:
        """Return means and maxima of the last two stages, (B, features)."""
        maps = self.lifting(contrast(images) if self.maps == "contrast" else images)
        found = [invariants(maps)]
        for stage in self.stages:
            maps = stage(halved(maps))
            found.append(invariants(maps))
        return torch.cat(found[-2:], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.head(self.features(images))


class _Widen(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__(GroupConv2d(before, after), GroupNorm(after), nn.ReLU(inplace=True))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            GroupConv2d(width, width), GroupNorm(width), nn.ReLU(inplace=True), GroupConv2d(width, width), GroupNorm(width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(maps + self.body(maps))
