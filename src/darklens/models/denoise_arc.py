"""The stages of `arcnet` as an encoder, taught without labels to tell structure from noise in what a smooth fit leaves over.

The decoder sees the last two stages alone, the ones whose means and maxima a classifier is given later: what is not in them cannot
be painted. There are no shortcuts around them, as a denoiser made for its pictures would have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from darklens.models.arcnet import ArcNet
from darklens.models.shapes import check_images

WIDTHS = (24, 32, 48, 64, 96)
SCALE = 0.3
"""By which residuals in units of the noise are multiplied, as `ArcNet` says."""


class ArcEncoder(ArcNet):
    """Residuals (B, bands, H, W) to vectors (B, dimension): means and maxima of the last two stages, over the square's symmetries.

    Args:
        bands: number of residuals.
        size: height and width, at least 32 pixels.
        widths: channels of the stages.

    Attributes:
        dimension: length of a vector.
    """

    def __init__(self, bands: int = 1, size: int | tuple[int, int] = 64, *, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__(bands, 1, size, widths=widths, dropout=0.0, scale=SCALE)
        self.head = nn.Identity()
        self.dimension = 2 * (widths[-2] + widths[-1])


class DenoiseArc(nn.Module):
    """Residuals (B, bands, H, W) in units of the noise to what they would be without it, of the same shape.

    Args:
        bands: number of residuals.
        size: height and width, at least 32 pixels.
        widths: channels of the encoder's stages.
        decoder_width: channels of the decoder.

    Raises:
        InputError: images too small, or fewer than two stages.
    """

    task = "denoising"
    summary = "denoiser of fitted residuals whose encoder is arcnet, for few labels, 0.3 M parameters"

    def __init__(
        self,
        bands: int = 1,
        size: int | tuple[int, int] = 64,
        *,
        widths: tuple[int, ...] = WIDTHS,
        decoder_width: int = 96,
    ) -> None:
        super().__init__()
        self.encoder = ArcEncoder(bands, size, widths=tuple(widths))
        with torch.no_grad():
            rows = self.encoder.eval().maps(torch.zeros(1, bands, *self.encoder.size))[-2].shape[-2]
        self.block = -(-self.encoder.size[0] // rows)
        self.mix = nn.Sequential(
            nn.Conv2d(widths[-2] + widths[-1], decoder_width, 1),
            nn.GELU(),
            nn.Conv2d(decoder_width, decoder_width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(decoder_width, bands * self.block**2, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the residuals without their noise."""
        check_images(images, self.encoder.bands, self.encoder.size)
        height, width = images.shape[-2:]
        near, far = self.encoder.maps(images * self.encoder.scale)[-2:]
        seen = torch.cat([near, interpolate(far, near.shape[-2:], mode="nearest")], dim=1)
        return pixel_shuffle(self.mix(seen), self.block)[..., :height, :width]
