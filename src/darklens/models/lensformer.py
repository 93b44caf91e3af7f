"""Lensformer, with the gradient that the published one lacks.

Lensformer (Velôso, Toomey & Gleyzer, "Lensiformer: a relativistic physics-informed vision transformer architecture for dark matter
morphology", Machine Learning and the Physical Sciences, NeurIPS 2023) predicts a lens for every pixel and looks at the image and at
the source behind it together:

    tokens of the image -> one block -> k_ij = 0.8 + 0.4 sigmoid(W z)        a correction to the SIS, arcsec
    beta = theta - k theta/|theta|,   S(beta) = I(theta)                     the source that the image would have
    tokens of the image ask, tokens of the source answer -> one block -> logits

What differs from the published code, which is `lensformer-published`:

- light is spread bilinearly over the four cells around beta (`SourcePlane`), so that the classification teaches k;
- a cell gets the mean of the pixels that land in it, not the last one written there; so it cannot exceed the image's maximum and
  need not be divided by its own, by which a single bright pixel dims everything else;
- the pixel scale is the data's, not 0.101 arcsec, and the origin is the middle of the image, not half a pixel beside it.

The parameters are the published ones: 13,236,421 for one band, 64x64 pixels and three classes. The layer W makes one k for every
pixel and grows as the fourth power of the image's side (225 million numbers at 150x150): beyond 64 pixels k is predicted on a map
of 64 and interpolated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models.patches import PATCH
from darklens.models.shapes import check_images, check_size
from darklens.models.small_data import DIM, LocalityBlock, ShiftedPatches, mlp, token_count
from darklens.models.source_plane import SourcePlane, check_theta_E_range

LARGEST_MAP = 64  # pixels a side of the map of k


class Lensformer(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes), by way of their source.

    Args:
        bands: number of bands; they share k.
        classes: number of logits.
        size: image height and width, at least 32 pixels; for the tokens, zeros around it make up whole patches of 32.
        pixel_scale: arcsec a pixel.
        theta_E_range: smallest and largest k in arcsec; the published range holds the lenses of Models II and III
            (theta_E 0.81 arcsec), those of `common-test` go up to 1.61.
        dropout: in training.

    Raises:
        InputError: image or field too small, a range out of order, or a dropout outside [0, 1).
    """

    summary = "transformer on the image and its source behind a lens predicted pixel by pixel, differentiable, 13.2 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        pixel_scale: float = 0.08,
        *,
        theta_E_range: tuple[float, float] = (0.8, 1.2),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bands, self.size = bands, check_size(size, minimum=PATCH)
        self.network = LensformerNetwork(bands, classes, self.size, check_theta_E_range(theta_E_range), dropout)
        self.source_plane = SourcePlane(self.size, pixel_scale, theta_E_range[1])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.network(images, self.source_plane)

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the model believes about the lens: theta_E (B, H, W) in arcsec and source (B, bands, H, W)."""
        check_images(images, self.bands, self.size)
        theta_E = self.network.lens(images)
        return {"theta_E": theta_E, "source": self.source_plane(images, theta_E)}


class LensformerNetwork(nn.Module):
    """All that learns in a Lensformer; how light gets to the source plane is for its owner to say.

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width in pixels.
        theta_E_range: smallest and largest k in arcsec.
        dropout: in training.

    Raises:
        InputError: a dropout outside [0, 1).
    """

    def __init__(self, bands: int, classes: int, size: tuple[int, int], theta_E_range: tuple[float, float], dropout: float) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        self.size, self.theta_E_range = size, theta_E_range
        tokens = token_count(size)
        self.map_size = tuple(min(side, LARGEST_MAP) for side in size)
        self.image_tokens = ShiftedPatches(bands, size)
        self.encoder = nn.Sequential(
            LocalityBlock(tokens, dropout),
            nn.Flatten(),
            nn.Linear(tokens * DIM, self.map_size[0] * self.map_size[1]),
            nn.Sigmoid(),
        )
        self.source_tokens = ShiftedPatches(bands, size)
        self.decoder = LocalityBlock(tokens, dropout)
        self.head = nn.Sequential(nn.Flatten(), mlp(tokens * DIM, classes, hidden_layers=3, dropout=dropout))

    def forward(self, images: Tensor, source_plane: nn.Module) -> Tensor:
        """Return the logits (B, classes); `source_plane` maps images and k (B, H, W) to sources of the images' shape."""
        tokens = self.image_tokens(images)
        source = source_plane(images, self._theta_E(tokens))
        return self.head(self.decoder(tokens, self.source_tokens(source)))

    def lens(self, images: Tensor) -> Tensor:
        """Return k, the Einstein radius at each pixel, (B, H, W) in arcsec."""
        return self._theta_E(self.image_tokens(images))

    def _theta_E(self, tokens: Tensor) -> Tensor:
        low, high = self.theta_E_range
        share = self.encoder(tokens).unflatten(1, (1, *self.map_size))
        share = share.to(torch.promote_types(share.dtype, torch.float32))  # 0.003 arcsec is all that bfloat16 can tell
        if self.map_size != self.size:
            share = F.interpolate(share, self.size, mode="bilinear")
        return low + (high - low) * share.squeeze(1)
