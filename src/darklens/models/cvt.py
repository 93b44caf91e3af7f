"""The convolutional vision transformer (CvT, Wu et al. 2021, arXiv:2103.15808), as it was used on Model III.

Three stages, each a strided convolution that makes tokens of the map, then transformer blocks over them. Queries, keys and values
are projected by a depthwise 3x3 convolution with batch norm before the pointwise one (the paper's section 3.2); keys and values
at half the resolution. Neighbourhood is in the convolutions, so there are no positions to learn and any size of image fits.

Widths 54, 162 and 324, kernels 7, 3 and 3, strides 4, 2 and 2, depths 1, 2 and 10, MLP four times as wide; 1, 3 and 4 heads. Heads
of 64 channels give the published 13.09 M parameters (13,093,869 for one band and three classes). From the paper's CvT-13 differ the
widths, the number of heads in the last stage, and the end: the mean over the map instead of a class token.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

HEAD_DIM = 64
STAGES = (  # width, kernel, stride, heads, depth
    (54, 7, 4, 1, 1),
    (162, 3, 2, 3, 2),
    (324, 3, 2, 4, 10),
)


class CvT(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        dropout: of attention and hidden units, in training; none was published.

    Raises:
        InputError: image too small, or a dropout outside [0, 1).
    """

    summary = "convolutional vision transformer, 13.1 M parameters"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=32)
        stages: list[nn.Module] = []
        before = bands
        for width, kernel, stride, heads, depth in STAGES:
            stages += [nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2), ChannelNorm(width)]
            stages += [Block(width, heads, dropout) for _ in range(depth)]
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.head(self.stages(images))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel: (B, C, H, W) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised maps."""
        return self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Convolutional attention and an MLP, each behind a norm and beside a shortcut: (B, width, H, W) to the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = ChannelNorm(width)
        self.queries = projection(width, heads * HEAD_DIM, stride=1)
        self.keys_values = projection(width, 2 * heads * HEAD_DIM, stride=2)
        self.merge = nn.Sequential(nn.Conv2d(heads * HEAD_DIM, width, 1), nn.Dropout(dropout))
        self.mlp = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, 4 * width, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv2d(4 * width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps after one round of attention."""
        maps = maps + self.merge(self._attend(self.attention_norm(maps)))
        return maps + self.mlp(maps)

    def _attend(self, maps: Tensor) -> Tensor:
        queries = self._tokens(self.queries(maps))
        keys, values = map(self._tokens, self.keys_values(maps).chunk(2, dim=1))
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=self.dropout if self.training else 0.0)
        return attended.transpose(2, 3).reshape(maps.shape[0], -1, *maps.shape[2:])

    def _tokens(self, maps: Tensor) -> Tensor:
        """Return maps (B, heads 64, H, W) as tokens (B, heads, H W, 64)."""
        return maps.flatten(2).unflatten(1, (self.heads, HEAD_DIM)).transpose(2, 3)


def projection(before: int, after: int, stride: int) -> nn.Sequential:
    """Return depthwise 3x3, batch norm, pointwise: (B, before, H, W) to (B, after, H/stride, W/stride)."""
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.Conv2d(before, after, 1, bias=False),
    )
