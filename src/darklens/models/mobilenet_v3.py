"""MobileNetV3-Small (Howard et al. 2019, arXiv:1905.02244, table 2), at any width.

Eleven inverted residuals: a 1x1 convolution widens, a depthwise one mixes neighbours, squeeze-and-excitation weighs the channels, a
1x1 convolution narrows again. The first ones use ReLU, the later ones hard-swish. At half the width, with one band and 1,000
features, it has 1,592,936 parameters: the common "small-050", whose stem keeps its 16 channels and whose last layer its 1,024.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

STEM, FEATURES = 16, 1024
BLOCKS = (  # kernel, widened channels over incoming ones, channels, squeeze-and-excitation, activation, stride
    (3, 1, 16, True, nn.ReLU, 2),
    (3, 72 / 16, 24, False, nn.ReLU, 2),
    (3, 88 / 24, 24, False, nn.ReLU, 1),
    (5, 4, 40, True, nn.Hardswish, 2),
    (5, 6, 40, True, nn.Hardswish, 1),
    (5, 6, 40, True, nn.Hardswish, 1),
    (5, 3, 48, True, nn.Hardswish, 1),
    (5, 3, 48, True, nn.Hardswish, 1),
    (5, 6, 96, True, nn.Hardswish, 2),
    (5, 6, 96, True, nn.Hardswish, 1),
    (5, 6, 96, True, nn.Hardswish, 1),
)


class MobileNetV3Small(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        width: of the blocks, over the standard one.

    Raises:
        InputError: image too small, or a width that is not positive.
    """

    summary = "MobileNetV3-Small at half its width, 0.57 M parameters"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, width: float = 0.5) -> None:
        super().__init__()
        if not width > 0:
            raise InputError(f"a width of {width} leaves no channels: give a number above 0")
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.stem = _convolution(bands, STEM, 3, nn.Hardswish, stride=2)
        blocks: list[nn.Module] = []
        before = STEM
        for kernel, expansion, channels, excite, activation, stride in BLOCKS:
            after = _whole(channels * width)
            blocks.append(Block(before, _whole(before * expansion), after, kernel, stride, excite, activation))
            before = after
        self.blocks = nn.Sequential(*blocks)
        wide = _whole(576 * width)
        self.top = nn.Sequential(
            _convolution(before, wide, 1, nn.Hardswish),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, FEATURES, 1),
            nn.Hardswish(),
            nn.Flatten(),
        )
        self.head = nn.Linear(FEATURES, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.head(self.top(self.blocks(self.stem(images))))


class Block(nn.Module):
    """The inverted residual: (B, before, H, W) to (B, after, H/stride, W/stride), with a shortcut where the shapes agree."""

    def __init__(
        self, before: int, wide: int, after: int, kernel: int, stride: int, excite: bool, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *([_convolution(before, wide, 1, activation)] if wide != before else []),
            _convolution(wide, wide, kernel, activation, stride=stride, groups=wide),
            *([SqueezeExcite(wide)] if excite else []),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = stride == 1 and before == after

    def forward(self, maps: Tensor) -> Tensor:
        """Return the branch, and the map itself added where the shapes agree."""
        return maps + self.body(maps) if self.shortcut else self.body(maps)


class SqueezeExcite(nn.Module):
    """Weigh the channels of a map (B, C, H, W) by what its mean says, with a hard sigmoid (section 5.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _whole(channels / 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the map with weighted channels."""
        return maps * self.gate(maps)


def _convolution(
    before: int, after: int, kernel: int, activation: type[nn.Module], stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), activation())


def _whole(channels: float) -> int:
    """Return the nearest multiple of 8, at least 8 and not more than a tenth below `channels`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
