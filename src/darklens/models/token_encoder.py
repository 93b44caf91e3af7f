"""A small vision transformer that can look at some of its patches only: what masked autoencoders and joint embeddings learn.

    z_i = E x_i + p_i  for the patches i that are seen,   z <- z + attention(LN z),   z <- z + MLP(LN z),   tokens = LN z

Hidden patches are left out before the first block, not replaced (He et al. 2022, arXiv:2111.06377, sect. 3): a network that sees a
quarter of the patches costs a quarter. Positions are fixed sines and cosines, so that nothing has to be learned about the grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models.patches import pad_to_patches, padded_size
from darklens.models.shapes import check_images, check_size

MINIMUM = 32
"""Pixels of the smallest side that an encoder takes."""


class TokenEncoder(nn.Module):
    """Images (B, bands, H, W) to vectors (B, 2 dim): mean and maximum of the tokens, as one spot may be all there is.

    Args:
        bands: number of bands.
        size: image height and width, at least 32 pixels; zeros around the image make up whole patches.
        patch: side of a patch in pixels.
        dim: width of a token, a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: of the attention.

    Attributes:
        dimension: length of a vector.
        grid: rows and columns of patches.

    Raises:
        InputError: images too small, or a width that does not divide into heads.
    """

    positions: Tensor

    def __init__(self, bands: int, size: int | tuple[int, int], *, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        if dim % 4 or dim % heads or min(patch, depth, heads) < 1:
            raise InputError(f"dim {dim} with {heads} heads and patches of {patch}: dim must be a multiple of 4 and of the heads")
        self.bands, self.size, self.patch, self.dim = bands, check_size(size, minimum=MINIMUM), patch, dim
        height, width = padded_size(self.size, patch)
        self.grid = (height // patch, width // patch)
        self.dimension = 2 * dim
        self.embedding = nn.Conv2d(bands, dim, patch, stride=patch)
        self.register_buffer("positions", sine_positions(self.grid, dim), persistent=False)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)

    def tokens(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return a token (B, K, dim) for each patch that is seen.

        Args:
            images: `(B, bands, H, W)`.
            seen: `(B, K)` positions of patches, row by row; None sees all.
        """
        check_images(images, self.bands, self.size)
        return self._encoded(pad_to_patches(images, self.patch), seen)

    def _encoded(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        height, width = images.shape[-2:]
        grid = (height // self.patch, width // self.patch)
        positions = self.positions if grid == self.grid else sine_positions(grid, self.dim).to(self.positions)
        tokens = self.embedding(images).flatten(2).mT + positions
        if seen is not None:
            tokens = tokens.gather(1, seen[..., None].expand(-1, -1, self.dim))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def maps_of(self, images: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
        """Return the tokens of images of any size in their places, and which rows and columns of the patches' pixels are theirs."""
        whole = pad_to_patches(images, self.patch)
        grid = tuple(side // self.patch for side in whole.shape[-2:])
        first = [(there - own) // 2 for there, own in zip(whole.shape[-2:], images.shape[-2:], strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(first, images.shape[-2:], strict=True))
        return self._encoded(whole).mT.unflatten(2, grid), (rows, columns)

    def forward(self, images: Tensor) -> Tensor:
        """Return the vectors (B, 2 dim)."""
        tokens = self.tokens(images)
        return torch.cat([tokens.mean(1), tokens.amax(1)], 1)


class TokenDecoder(nn.Module):
    """Tokens of the patches that were seen (B, K, dim) to the pixels of all (B, bands, H, W).

    Args:
        encoder: whose tokens these are.
        dim: width of the decoder.
        depth: number of its blocks.
        heads: of its attention.
    """

    positions: Tensor

    def __init__(self, encoder: TokenEncoder, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid, self.patch = encoder.grid, encoder.patch
        self.embedding = nn.Linear(encoder.dim, dim)
        self.unseen = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.register_buffer("positions", sine_positions(self.grid, dim), persistent=False)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, encoder.bands * encoder.patch**2))

    def forward(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Return the pixels; `order` (B, N) has the positions of all patches, those of the tokens first."""
        tokens = self.embedding(tokens)
        hidden = self.unseen.to(tokens.dtype).expand(len(tokens), order.shape[1] - tokens.shape[1], -1)
        back = order.argsort(1)[..., None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens, hidden], 1).gather(1, back) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return F.pixel_shuffle(self.head(tokens).mT.unflatten(2, self.grid), self.patch)


class Block(nn.Module):
    """Attention and an MLP of twice the width, each behind a layer norm and beside a shortcut: (B, N, dim) to the same shape."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.queries_keys_values = nn.Linear(dim, 3 * dim)
        self.merge = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after one round of attention."""
        split = self.queries_keys_values(self.attention_norm(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        tokens = tokens + self.merge(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)


def sine_positions(grid: tuple[int, int], dim: int) -> Tensor:
    """Return `(1, rows * columns, dim)` sines and cosines of row and column, a quarter of the width each (Vaswani et al. 2017)."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(dim // 4) / (dim // 4))
    row, column = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * rates for place in (row, column)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], 1)[None]


def visible_count(patches: int, mask: float) -> int:
    """Return how many of the patches are seen.

    Raises:
        InputError: the fraction that is hidden leaves none, or hides none.
    """
    seen = int(patches * (1 - mask))
    if not 0 < mask < 1 or not 0 < seen < patches:
        raise InputError(f"mask {mask} hides all or none of {patches} patches: give a fraction between 0 and 1, for example 0.75")
    return seen


def hidden_pixels(order: Tensor, seen: int, grid: tuple[int, int], patch: int) -> Tensor:
    """Return `(B, 1, H, W)`, 1 where a patch is hidden; the first `seen` of `order` (B, N) are not."""
    hidden = torch.ones(order.shape, device=order.device).scatter(1, order[:, :seen], 0.0)
    maps = hidden.unflatten(1, grid)[:, None]
    return maps.repeat_interleave(patch, -1).repeat_interleave(patch, -2)


def random_order(images: Tensor, patches: int) -> Tensor:
    """Return `(B, N)` patches of each image in an order of its own, drawn from the global state, which a training seeds."""
    return torch.rand(len(images), patches, device=images.device).argsort(1)
