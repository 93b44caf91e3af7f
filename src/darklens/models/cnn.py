"""A plain convolutional network: four convolutions, two poolings, three linear layers.

It is the smallest of the architectures compared on Model III (509,955 parameters for one band, 64x64 pixels and three
classes). The padding of 2 around the 3x3 kernels lets the map grow by two pixels a layer, as published. The first
linear layer takes the flattened map (128x6x6 = 4608 at 64x64), so its length follows the image size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size


class CNN(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 16 pixels.
        dropout: probability that a hidden unit of the linear layers is dropped in training.

    Raises:
        InputError: image too small, or a dropout outside [0, 1).
    """

    summary = "plain CNN of 4 convolutions, 0.51 M parameters at 64x64"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, dropout: float = 0.2) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=16)
        self.convolutions = nn.Sequential(
            nn.Conv2d(bands, 32, 7, stride=2, padding=3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 7, stride=2, padding=3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=2),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        with torch.no_grad():
            flat = self.convolutions(torch.zeros(1, bands, *self.size)).shape[1]
        self.head = nn.Sequential(
            nn.Linear(flat, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(32, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.head(self.convolutions(images))
