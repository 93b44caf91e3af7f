"""CoAtNet: convolution first, then attention (Dai, Liu, Le & Tan 2021, arXiv:2106.04803, section 2 and table 3).

Two stages of inverted residuals find local patterns, and two stages of attention set them in relation over the whole
field. The attention is relative: `A_ij = softmax_j(q_i k_j / sqrt(d) + w_{i-j})`, w a learned number for each head and
displacement (their equation 3), so that a pattern counts for what it is beside, wherever on the ring it sits. The
widths are between CoAtNet-0's and what small images need: 14.7 M parameters. Published images have 224 pixels and every
stage halves the map; with the "fine" stem the first stage does not, and 64 pixels leave a map of 4x4 at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from darklens.errors import InputError, unknown
from darklens.models.inverted_residual import SqueezeExcite, StochasticDepth
from darklens.models.shapes import check_images, check_size

STEM = 32
WIDTHS = (64, 128, 256, 512)
EXPANSION, HEAD = 4, 32
FIRST_STRIDE = {"fine": 1, "standard": 2}


class CoAtNet(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels; the learned displacements belong to this size.
        depths: blocks in the two stages of convolution and the two of attention.
        stem: "fine" (the first stage keeps half the resolution) or "standard" (it halves it again, as published).
        drop_path: probability of stochastic depth at the last block; it grows linearly from 0 at the first.

    Raises:
        InputError: image too small, unknown stem, an empty stage, or a probability outside [0, 1).
    """

    summary = "CoAtNet: convolutions, then relative attention, 14.7 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        stem: str = "fine",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if stem not in FIRST_STRIDE:
            raise unknown("stem", stem, FIRST_STRIDE)
        if len(depths) != len(WIDTHS) or min(depths) < 1:
            raise InputError(f"depths {tuple(depths)}: give four stages of at least one block")
        if not 0 <= drop_path < 1:
            raise InputError(f"drop_path {drop_path} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.stem = nn.Sequential(
            nn.Conv2d(bands, STEM, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.GELU(),
            nn.Conv2d(STEM, STEM, 3, padding=1),
        )
        blocks: list[nn.Module] = []
        before, grid = STEM, _strided(self.size, 2)
        for stage, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            for k in range(depth):
                stride = 1 if k > 0 else FIRST_STRIDE[stem] if stage == 0 else 2
                grid = _strided(grid, stride)
                drop = drop_path * len(blocks) / (sum(depths) - 1)
                blocks.append(MBConv(before, width, stride, drop) if stage < 2 else Transformer(before, width, stride, grid, drop))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(before)
        self.head = nn.Linear(before, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the normalised mean of the last feature map, (B, 512)."""
        check_images(images, self.bands, self.size)
        return self.norm(self.blocks(self.stem(images)).mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(images))


class MBConv(nn.Module):
    """`Proj(Pool(x)) + MBConv(Norm(x))`: (B, before, H, W) to (B, after, H/stride, W/stride)."""

    def __init__(self, before: int, after: int, stride: int, drop_path: float) -> None:
        super().__init__()
        wide = after * EXPANSION
        self.shortcut = _shortcut(before, after, stride)
        self.body = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.GELU(),
            nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.GELU(),
            SqueezeExcite(wide, wide // 16),
            nn.Conv2d(wide, after, 1),
            StochasticDepth(drop_path),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the shortcut plus the branch."""
        return self.shortcut(maps) + self.body(maps)


class Transformer(nn.Module):
    """`x <- Proj(Pool(x)) + Attention(Pool(Norm(x)))`, then `x <- x + MLP(Norm(x))`, on maps (B, C, H, W).

    Args:
        before: channels that come in.
        after: channels that go out.
        stride: of the pooling before the attention.
        grid: height and width of the map that goes out.
        drop_path: of both branches.
    """

    def __init__(self, before: int, after: int, stride: int, grid: tuple[int, int], drop_path: float) -> None:
        super().__init__()
        self.grid = grid
        self.shortcut = _shortcut(before, after, stride)
        self.norm = nn.LayerNorm(before)
        self.pool = nn.MaxPool2d(3, stride=stride, padding=1) if stride > 1 else nn.Identity()
        self.attention = RelativeAttention(before, after, grid)
        self.mlp = nn.Sequential(
            nn.LayerNorm(after), nn.Linear(after, EXPANSION * after), nn.GELU(), nn.Linear(EXPANSION * after, after)
        )
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the map (B, after, *grid)."""
        normed = self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        tokens = self.shortcut(maps).flatten(2).mT
        tokens = tokens + self.drop_path(self.attention(self.pool(normed).flatten(2).mT))
        tokens = tokens + self.drop_path(self.mlp(tokens))
        return tokens.mT.unflatten(2, self.grid)


class RelativeAttention(nn.Module):
    """Heads of 32 numbers with a learned bias per displacement: tokens (B, H W, before) to (B, H W, after)."""

    displacement: Tensor

    def __init__(self, before: int, after: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.heads = after // HEAD
        self.qkv = nn.Linear(before, 3 * after, bias=False)
        self.project = nn.Linear(after, after)
        height, width = grid
        self.bias = nn.Parameter(torch.empty(self.heads, (2 * height - 1) * (2 * width - 1)))
        nn.init.trunc_normal_(self.bias, std=0.02)
        row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        down, right = row[:, None] - row + height - 1, column[:, None] - column + width - 1
        self.register_buffer("displacement", down * (2 * width - 1) + right, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the attended tokens."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, HEAD)).permute(2, 0, 3, 1, 4)
        bias = self.bias[:, self.displacement].to(query.dtype)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        return self.project(attended.transpose(1, 2).flatten(2))


def _strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return height and width of a map after a stride."""
    height, width = (-(-side // stride) for side in size)
    return height, width


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    if stride == 1 and before == after:
        return nn.Identity()
    pool = nn.MaxPool2d(3, stride=stride, padding=1) if stride > 1 else nn.Identity()
    return nn.Sequential(pool, nn.Conv2d(before, after, 1))
