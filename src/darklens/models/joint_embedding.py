"""Two views of one lens, one place in the space of vectors: the encoder of `mae-arc`, taught without a decoder.

A view is turned, blurred and made noisier; the lens behind it stays the same. The encoder is asked for vectors from which nobody
can tell the views apart, but the lenses. A projector of two layers stands between vectors and loss, and is thrown away afterwards
(Chen et al. 2020, arXiv:2002.05709, sect. 4.2): what the loss wants forgotten is forgotten there.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.models.token_encoder import TokenEncoder


class JointEmbedding(nn.Module):
    """Images (B, bands, H, W) to projections (B, projection), in which the loss compares the views of a lens.

    Args:
        bands: number of bands; with the recipe's `input: both` the residual in units of the noise, and the image.
        size: image height and width, at least 32 pixels.
        patch: side of a patch in pixels.
        dim: width of the encoder.
        depth: blocks of the encoder.
        heads: of its attention.
        projection: length of a projection.

    Raises:
        InputError: images too small.
    """

    task = "joint-embedding"
    summary = "joint embedding of two views of a lens, the encoder of mae-arc, 1.1 M parameters"

    def __init__(
        self,
        bands: int = 2,
        size: int | tuple[int, int] = 64,
        *,
        patch: int = 8,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        projection: int = 256,
    ) -> None:
        super().__init__()
        self.encoder = TokenEncoder(bands, size, patch=patch, dim=dim, depth=depth, heads=heads)
        hidden = 2 * projection
        self.projector = nn.Sequential(
            nn.Linear(self.encoder.dimension, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, projection),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the projections (B, projection)."""
        return self.projector(self.encoder(images))
