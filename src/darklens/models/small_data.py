"""Parts of a vision transformer for small data sets (Lee, Lee & Song 2021, arXiv:2112.13492).

*Shifted patches*: a token is made of its patch and of the same patch of four copies of the image, shifted diagonally by half a
patch, so that it knows what lies across its borders. *Locality attention*: a token does not look at itself, and a learned
temperature divides the queries, so that attention can sharpen although there are few tokens.

The blocks normalise behind the shortcut (post-norm) and have an MLP of 384-64-64-384 with ELU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from darklens.models.patches import PATCH, pad_to_patches, padded_size

DIM, HEADS, HIDDEN = 384, 16, 64


def token_count(size: tuple[int, int]) -> int:
    """Return the number of tokens of an image: its patches and the class token."""
    rows, columns = (side // PATCH for side in padded_size(size))
    return 1 + rows * columns


class ShiftedPatches(nn.Module):
    """Images (B, bands, H, W) to tokens (B, 1 + patches, 384), zeros around the image making up whole patches.

    Args:
        bands: number of bands.
        size: image height and width in pixels.
        norm: whether to normalise the embedded patches.
    """

    def __init__(self, bands: int, size: tuple[int, int], *, norm: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(5 * bands, DIM, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(DIM) if norm else nn.Identity()
        self.class_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.positions = nn.Parameter(torch.zeros(1, token_count(size), DIM))

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token and one token a patch, row by row."""
        patches = self.norm(self.embedding(with_shifts(pad_to_patches(images))).flatten(2).transpose(1, 2))
        return torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], 1) + self.positions


def with_shifts(images: Tensor, shift: int = PATCH // 2) -> Tensor:
    """Return images (B, bands, H, W) and their four diagonal shifts by `shift` pixels, (B, 5 bands, H, W); zeros move in."""
    wide = pad(images, (shift,) * 4)
    height, width = images.shape[-2:]
    corners = [(row, column) for row in (2 * shift, 0) for column in (2 * shift, 0)]  # up left, up right, down left, down right
    return torch.cat([images, *(wide[..., r : r + height, c : c + width] for r, c in corners)], 1)


class LocalityBlock(nn.Module):
    """Attention among tokens (B, N, 384) and an MLP, normalised behind each shortcut.

    Args:
        tokens: N.
        dropout: of attention, hidden units and the result, in training.
        projections: one more linear layer before queries and values each, as in LensPINN.
    """

    def __init__(self, tokens: int, dropout: float, *, projections: bool = False) -> None:
        super().__init__()
        self.queries = nn.Linear(DIM, DIM) if projections else nn.Identity()
        self.values = nn.Linear(DIM, DIM) if projections else nn.Identity()
        self.temperature = nn.Parameter(torch.ones(1))
        self.attention = nn.MultiheadAttention(DIM, HEADS, dropout, batch_first=True)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.mlp = mlp(DIM, DIM, hidden_layers=1, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("itself", torch.eye(tokens, dtype=torch.bool), persistent=False)

    def forward(self, tokens: Tensor, values: Tensor | None = None) -> Tensor:
        """Return what the tokens find in the values (their own by default), with the values' shortcut."""
        values = self.values(tokens if values is None else values)
        queries = self.queries(tokens) / self.temperature
        found, _ = self.attention(queries, tokens, values, attn_mask=self.itself, need_weights=False)
        values = self.attention_norm(values + found)
        return self.dropout(self.mlp_norm(values + self.mlp(values)))


def mlp(before: int, after: int, *, hidden_layers: int, dropout: float) -> nn.Sequential:
    """Return linear layers before-64-(64 x hidden_layers)-after with ELU and dropout between them."""
    layers: list[nn.Module] = []
    for width in (before, *[HIDDEN] * hidden_layers):
        layers += [nn.Linear(width, HIDDEN), nn.ELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, after))
