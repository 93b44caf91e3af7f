"""The vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), as it was used on Model III.

    z = [class; E x_1; ...; E x_N] + positions,   z <- z + attention(LN z),   z <- z + MLP(LN z),   logits = W LN(z_class)

Patches of 32 pixels, 384 dimensions, 6 blocks of 16 heads of 64 (so that attention is 1024 wide) and an MLP of 768: 13,395,203
parameters for one band, 64x64 pixels and three classes. To meet that number the patches are normalised before the embedding and
again behind it, and queries, keys and values have no bias; the paper has neither. At 64x64 there are four patches: the network
sees the picture as four words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models.patches import PATCH, pad_to_patches, padded_size
from darklens.models.shapes import check_images, check_size

DIM, DEPTH, HEADS, HEAD_DIM, HIDDEN = 384, 6, 16, 64, 768


class ViT(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels; zeros around the image make up whole patches (150 becomes 160).
        dropout: of tokens, attention and hidden units, in training.

    Raises:
        InputError: image too small, or a dropout outside [0, 1).
    """

    summary = "vision transformer, 4 patches of 32 pixels at 64x64, 13.4 M parameters"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, dropout: float = 0.1) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=PATCH)
        rows, columns = (side // PATCH for side in padded_size(self.size))
        self.normalise = PatchNorm(bands)
        self.embedding = nn.Conv2d(bands, DIM, PATCH, stride=PATCH)
        self.embedding_norm = nn.LayerNorm(DIM)
        self.class_token = nn.Parameter(torch.randn(1, 1, DIM))
        self.positions = nn.Parameter(torch.randn(1, 1 + rows * columns, DIM))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*[Block(dropout) for _ in range(DEPTH)])
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        patches = self.embedding(self.normalise(pad_to_patches(images))).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), self.embedding_norm(patches)], 1)
        return self.head(self.blocks(self.dropout(tokens + self.positions))[:, 0])


class PatchNorm(nn.Module):
    """Layer normalisation of each patch by itself, its pixels left in place: (B, bands, H, W) to the same shape."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm((bands, PATCH, PATCH))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with patches of mean 0 and variance 1, scaled and shifted pixel by pixel."""
        grid = images.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # B, bands, rows, PATCH, columns, PATCH
        patches = self.norm(grid.permute(0, 2, 4, 1, 3, 5))
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a shortcut: tokens (B, N, 384) to the same shape."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(DIM)
        self.queries_keys_values = nn.Linear(DIM, 3 * HEADS * HEAD_DIM, bias=False)
        self.merge = nn.Sequential(nn.Linear(HEADS * HEAD_DIM, DIM), nn.Dropout(dropout))
        self.mlp = nn.Sequential(
            nn.LayerNorm(DIM),
            nn.Linear(DIM, HIDDEN),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, DIM),
            nn.Dropout(dropout),
        )
        self.dropout = dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after one round of attention."""
        tokens = tokens + self.merge(self._attend(self.attention_norm(tokens)))
        return tokens + self.mlp(tokens)

    def _attend(self, tokens: Tensor) -> Tensor:
        query, key, value = self.queries_keys_values(tokens).unflatten(2, (3, HEADS, HEAD_DIM)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        return attended.transpose(1, 2).flatten(2)
