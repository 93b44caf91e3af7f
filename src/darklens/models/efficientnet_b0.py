"""EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946, table 1).

Sixteen inverted residuals in seven stages between a strided 3x3 and a 1x1 convolution. It is the standard network, with
symmetric padding, but for its first convolution, which takes any number of bands: 4,010,815 parameters for one band and
three classes. The map is 32 times smaller than the image: 2x2 at 64 pixels, 5x5 at 150.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.inverted_residual import SqueezeExcite, StochasticDepth
from darklens.models.shapes import check_images, check_size

STEM, FEATURES = 32, 1280
STAGES = (  # expansion, channels, blocks, stride of the first, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
BLOCKS = sum(stage[2] for stage in STAGES)


class EfficientNetB0(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        dropout: of the pooled features.
        drop_path: probability of stochastic depth at the last block; it grows linearly from 0 at the first.

    Raises:
        InputError: image too small, or a probability outside [0, 1).
    """

    summary = "EfficientNet-B0, 4.01 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        dropout: float = 0.2,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        for what, value in (("dropout", dropout), ("drop_path", drop_path)):
            if not 0 <= value < 1:
                raise InputError(f"{what} {value} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.stem = _convolution(bands, STEM, 3, stride=2)
        blocks: list[nn.Module] = []
        before = STEM
        for expansion, channels, repeats, stride, kernel in STAGES:
            for k in range(repeats):
                drop = drop_path * len(blocks) / BLOCKS
                blocks.append(MBConv(before, channels, kernel, stride if k == 0 else 1, expansion, drop))
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(_convolution(before, FEATURES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(FEATURES, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # fan in: that of a depthwise convolution is its own kernel
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, images: Tensor) -> Tensor:
        """Return the mean of the last feature map, (B, 1280)."""
        check_images(images, self.bands, self.size)
        return self.top(self.blocks(self.stem(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(images))


class MBConv(nn.Module):
    """The inverted residual: (B, before, H, W) to (B, after, H/stride, W/stride), with a shortcut where the shapes agree."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        wide = before * expansion
        self.body = nn.Sequential(
            *([_convolution(before, wide, 1)] if expansion > 1 else []),
            _convolution(wide, wide, kernel, stride=stride, groups=wide),
            SqueezeExcite(wide, before // 4),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.drop_path = StochasticDepth(drop_path) if stride == 1 and before == after else None

    def forward(self, maps: Tensor) -> Tensor:
        """Return the branch, and the map itself added where the shapes agree."""
        branch = self.body(maps)
        return branch if self.drop_path is None else maps + self.drop_path(branch)


def _convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.SiLU(inplace=True))
