"""A network that keeps every pixel: evidence for substructure in, a map of clumps out, with place and mass at each pixel.

No pooling and no strides, so a shifted lens gives a shifted map; dilated convolutions (Yu & Koltun 2016) see an arc and its
counter-image together. The evidence has matched filters in it already: what is left to learn is what else looks like a clump.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

ANSWERS = 6
"""Logit of a clump; its offset in x and y, ln of their error (pixels); log10 of its mass less 9, ln of its error."""
RARE = -5.0
"""Logit at the start: few pixels have a clump."""


class PeakNet(nn.Module):
    """Evidence maps (B, bands, H, W) to (B, 6, H, W).

    Args:
        bands: number of maps.
        size: height and width, at least 16 pixels.
        width: channels.
        dilations: of the 3x3 convolutions, in order.

    Raises:
        InputError: maps too small, or no convolution.
    """

    summary = "fully convolutional map of clumps with place, mass and errors, from the evidence of a smooth fit, 0.04 M parameters"
    task = "localisation"
    tiny = {"width": 8}  # noqa: RUF012

    def __init__(
        self, bands: int = 5, size: int | tuple[int, int] = 64, *, width: int = 32, dilations: tuple[int, ...] = (1, 2, 4, 1)
    ) -> None:
        super().__init__()
        if width < 1 or not dilations or min(dilations) < 1:
            raise InputError(f"width {width}, dilations {tuple(dilations)}: give at least one channel and one convolution")
        self.bands, self.size = bands, check_size(size, minimum=16)
        layers = [_layer(bands, width, 5, 1), *(_layer(width, width, 3, d) for d in dilations)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, ANSWERS, 1)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = RARE

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (B, 6, H, W)."""
        check_images(maps, self.bands, self.size)
        found = self.head(self.body(maps))
        logit, dx, dy, log_place, log10_m, log_mass = found.unbind(1)
        return torch.stack([logit, dx, dy, log_place.clamp(-4, 4), log10_m, log_mass.clamp(-4, 3)], 1)


def _layer(before: int, width: int, kernel: int, dilation: int) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(before, width, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
