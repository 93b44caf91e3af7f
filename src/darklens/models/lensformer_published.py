"""Lensformer as it was published (Model III: loss .0446, accuracy .9845, AUC .9991); the architecture is in `lensformer`.

**Its defects, kept here on purpose**:

- beta is rounded to the nearest pixel, so no gradient reaches k: the block and the layer that predict it, 8,515,073 of the
  13,236,421 parameters, never leave their initial values but for weight decay. What the rest learns from is the source behind a
  random lens of 0.8 to 1.2 arcsec;
- the mean of the pixels that land in one cell was meant, but the cell is read before anything has been written: the last pixel
  written wins, in the order of the rows (on a GPU, in no order);
- the source is divided by its maximum, so that one bright pixel dims all the others;
- the pixel scale is 0.101 arcsec whatever the images, and the origin is the pixel at half the side: half a pixel off the middle.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.models.lensformer import LensformerNetwork
from darklens.models.patches import PATCH
from darklens.models.shapes import check_images, check_size

PIXEL_SCALE = 0.101  # arcsec
THETA_E_RANGE = (0.8, 1.2)  # arcsec


class LensformerPublished(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes), by way of a source that learns nothing.

    Args:
        bands: number of bands; they share k.
        classes: number of logits.
        size: image height and width, at least 32 pixels (published: 64).
        dropout: in training.

    Raises:
        InputError: image too small, or a dropout outside [0, 1).
    """

    summary = "Lensformer as published, defects included: no gradient reaches its lens, 13.2 M parameters"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.bands, self.size = bands, check_size(size, minimum=PATCH)
        self.network = LensformerNetwork(bands, classes, self.size, THETA_E_RANGE, dropout)
        self.source_plane = RoundedSourcePlane(self.size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.network(images, self.source_plane)

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return the lens, theta_E (B, H, W) in arcsec, and the "source" (B, bands, H, W)."""
        check_images(images, self.bands, self.size)
        theta_E = self.network.lens(images)
        return {"theta_E": theta_E, "source": self.source_plane(images, theta_E)}


class RoundedSourcePlane(nn.Module):
    """Move each pixel to the cell nearest to its beta; the last one there wins. No gradient of theta_E, no parameters.

    Args:
        size: image height and width in pixels.
    """

    position: Tensor
    inward: Tensor
    order: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(*(torch.arange(side) - side // 2 for side in size), indexing="ij")
        position = torch.stack([rows, columns]).float()
        radius = torch.hypot(*position)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("inward", position / radius.clamp_min(1) / PIXEL_SCALE, persistent=False)
        self.register_buffer("order", torch.where(radius > 0, torch.arange(radius.numel()).view(size), -1), persistent=False)

    def forward(self, images: Tensor, theta_E: Tensor) -> Tensor:
        """Return the sources (B, bands, H, W) of images of that shape and theta_E (B, H, W) in arcsec."""
        height, width = images.shape[-2:]
        beta = (self.position - theta_E.detach().unsqueeze(1) * self.inward).round().long()
        rows, columns = (beta[:, k] + side // 2 for k, side in ((0, height), (1, width)))
        cells = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
        # Writing in order and taking the largest number in that order are the same, and the latter needs no order.
        last = torch.full_like(cells.flatten(1), -1).scatter_reduce(
            1, cells.flatten(1), self.order.flatten().expand(images.shape[0], -1), "amax"
        )
        light = images.flatten(2).gather(2, last.clamp_min(0).unsqueeze(1).expand(-1, images.shape[1], -1))
        source = (light * (last >= 0).unsqueeze(1)).view(images.shape)
        return source / (source.amax((2, 3), keepdim=True) + 1e-8)
