"""The physics-informed ResNet-18 as it was published (the common test's AUC .992/.980/.993).

A standard ResNet-18 sees a second band, the "inverse source": the mean of the image over all pixels that
`beta = theta - theta_E theta/|theta|` sends to one cell, with theta_E = 1 arcsec on a grid of +-3.232 arcsec and beta
rounded to the nearest cell. With `gradient_channel` a third band holds the image's gradient (its modulus, by Sobel's
kernels; the publication does not name them). Reported with it: .977/.958/.961.

**Its defect, kept here on purpose**: theta_E is a constant and the rounding is a step, so no gradient ever reaches the
physics. The second band is one fixed rearrangement of pixels for every image, right only for a lens of that one radius;
and the grid has the field of 64 pixels of Euclid whatever images come in. `pi-resnet18` puts this right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darklens.models.resnet18 import ResNet18
from darklens.models.shapes import check_images, check_size

THETA_E = 1.0  # arcsec
HALF_WIDTH = 3.232  # arcsec


class PIResNet18Published(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands; the fixed lens acts on their mean.
        classes: number of logits.
        size: image height and width, at least 32 pixels (published: 150).
        gradient_channel: give the modulus of the image's gradient as one more band.
        stem: first layers of the trunk, as in `ResNet18`.

    Raises:
        InputError: image too small, or an unknown stem.
    """

    cells: Tensor
    pixels_in_cell: Tensor
    summary = "ResNet-18 on the image and its source behind a fixed 1 arcsec lens, as published, defect included"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        gradient_channel: bool = False,
        stem: str = "standard",
    ) -> None:
        super().__init__()
        self.bands, self.size, self.gradient_channel = bands, check_size(size, minimum=32), gradient_channel
        cells = fixed_lens_cells(self.size)
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("pixels_in_cell", cells.bincount(minlength=len(cells)).clamp_min(1), persistent=False)
        self.trunk = ResNet18(bands + 1 + gradient_channel, classes, self.size, stem=stem)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        image = images.mean(1, keepdim=True)
        channels = [images, self._source(image)]
        if self.gradient_channel:
            channels.append(sobel_modulus(image))
        return self.trunk(torch.cat(channels, 1))

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return the constant theta_E (B,) in arcsec and the "inverse source" (B, H, W)."""
        check_images(images, self.bands, self.size)
        source = self._source(images.mean(1, keepdim=True)).squeeze(1)
        return {"theta_E": source.new_full((len(images),), THETA_E), "source": source}

    def _source(self, image: Tensor) -> Tensor:
        flat = image.flatten(1)
        total = torch.zeros_like(flat).index_add(1, self.cells, flat)
        return (total / self.pixels_in_cell).view_as(image).to(image.dtype)


def fixed_lens_cells(size: tuple[int, int]) -> Tensor:
    """Return the cell (H W,) of the image-sized source grid where each pixel lands; the edge takes the rest."""
    y, x = (torch.linspace(-HALF_WIDTH, HALF_WIDTH, side, dtype=torch.float64) for side in size)
    x, y = torch.meshgrid(x, y, indexing="xy")
    shrink = 1 - THETA_E / torch.hypot(x, y).clamp_min(1e-12)
    rows, columns = (
        ((beta * shrink + HALF_WIDTH) / (2 * HALF_WIDTH) * (side - 1)).round().long().clamp(0, side - 1)
        for beta, side in ((y, size[0]), (x, size[1]))
    )
    return (rows * size[1] + columns).flatten()


def sobel_modulus(image: Tensor) -> Tensor:
    """Return |grad I| (B, 1, H, W) by Sobel's kernels, with the edge pixels repeated outwards."""
    kernel = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    gradient = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), torch.stack([kernel, kernel.T]).unsqueeze(1))
    return gradient.square().sum(1, keepdim=True).add(1e-12).sqrt()
