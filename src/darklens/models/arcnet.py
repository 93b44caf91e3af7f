"""A small plain network for what a smooth lens leaves over.

The smooth picture has been subtracted by physics, so no depth is needed to learn it: local patterns of a few pixels on the arc, in
units of the noise, are all there is to see. Strided convolutions, batch normalisation, and a mean and a maximum over the field: a
substructure may be anywhere, and one strong spot counts as much as many weak ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size


class ArcNet(nn.Module):
    """Residuals (B, bands, H, W) in units of the noise to logits (B, classes).

    Args:
        bands: number of bands; the first is the residual.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        widths: channels of the stages; each halves the map.
        dropout: of the pooled features.

    Raises:
        InputError: image too small, no stage, or a dropout outside [0, 1).
    """

    summary = "small network for residuals of a smooth-lens fit (input: residual), 0.11 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        widths: tuple[int, ...] = (24, 32, 48, 64, 96),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        if not widths or min(widths) < 1:
            raise InputError(f"widths {tuple(widths)}: give at least one stage of at least one channel")
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.scale = 0.3  # noise of unit scatter, with rare pixels at the limit, comes to about unit range
        stages: list[nn.Module] = []
        before = bands
        for k, width in enumerate(widths):
            kernel = 5 if k == 0 else 3
            stages += [
                nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * before, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        features = self.stages(images * self.scale)
        return self.head(torch.cat([features.mean((-2, -1)), features.amax((-2, -1))], dim=1))
