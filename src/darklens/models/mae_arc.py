"""A masked autoencoder for lenses: small patches, on the image and on what a smooth fit leaves of it.

Substructure disturbs an arc over a few pixels. A patch of 16 at 128x128 pixels shows it as one number among 256, and three quarters
of what there is to predict are the smooth arc; with the smooth lens subtracted by physics and patches of 8 or less, the disturbance
is what there is to predict. The noise cannot be predicted, so the loss is counted in its units
(`darklens.train.masked_autoencoder`).
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.models.patches import pad_to_patches
from darklens.models.token_encoder import TokenDecoder, TokenEncoder, hidden_pixels, random_order, visible_count


class MAEArc(nn.Module):
    """Images (B, bands, H, W) to what they look like where three quarters of them were hidden.

    Args:
        bands: number of bands; with the recipe's `input: both` the residual in units of the noise, and the image.
        size: image height and width, at least 32 pixels.
        patch: side of a patch in pixels.
        dim: width of the encoder.
        depth: blocks of the encoder.
        heads: of its attention.
        decoder_dim: width of the decoder.
        decoder_depth: blocks of the decoder.
        mask: fraction of the patches that are hidden.

    Raises:
        InputError: images too small, or a mask that hides all or nothing.
    """

    task = "masked-autoencoder"
    summary = "masked autoencoder for image and fitted residual, patches of 8, 1 M parameters"

    def __init__(
        self,
        bands: int = 2,
        size: int | tuple[int, int] = 64,
        *,
        patch: int = 8,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        decoder_dim: int = 96,
        decoder_depth: int = 2,
        mask: float = 0.75,
    ) -> None:
        super().__init__()
        self.encoder = TokenEncoder(bands, size, patch=patch, dim=dim, depth=depth, heads=heads)
        self.decoder = TokenDecoder(self.encoder, dim=decoder_dim, depth=decoder_depth, heads=heads)
        self.patches = self.encoder.grid[0] * self.encoder.grid[1]
        self.seen = visible_count(self.patches, mask)

    def forward(self, images: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Predict what is hidden from what is seen.

        Args:
            images: `(B, bands, H, W)`.
            order: `(B, N)` positions of the patches, those that are seen first; drawn at random by default.

        Returns:
            What is predicted, and what is there, `(B, bands, H', W')` in whole patches; and `(B, 1, H', W')`, 1 where it was
            hidden.
        """
        order = random_order(images, self.patches) if order is None else order
        predicted = self.decoder(self.encoder.tokens(images, order[:, : self.seen]), order)
        hidden = hidden_pixels(order, self.seen, self.encoder.grid, self.encoder.patch)
        return predicted, pad_to_patches(images, self.encoder.patch), hidden
