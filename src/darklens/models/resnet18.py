"""ResNet-18 (He, Zhang, Ren & Sun 2016, arXiv:1512.03385, table 1 and figure 5).

Eight blocks `y = relu(x + F(x))`, F two 3x3 convolutions with batch norm, in four stages of 64, 128, 256 and 512
channels; each stage after the first halves the map, and there the shortcut is a strided 1x1 convolution. It is the
standard network but for its first convolution, which takes any number of bands: 11,171,779 parameters for one band and
three classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.errors import unknown
from darklens.models.shapes import check_images, check_size

CHANNELS = (64, 128, 256, 512)


class ResNet18(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        stem: "standard" (7x7 stride 2, max pooling: the map starts at a quarter of the image) or "fine" (3x3 stride 1,
        no
            pooling: full resolution, about 16 times the work).

    Raises:
        InputError: image too small, or an unknown stem.
    """

    summary = "ResNet-18, 11.17 M parameters"

    def __init__(self, bands: int = 1, classes: int = 3, size: int | tuple[int, int] = 64, *, stem: str = "standard") -> None:
        super().__init__()
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS)
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.stem = STEMS[stem](bands)
        stages = []
        for before, after in zip((CHANNELS[0], *CHANNELS), CHANNELS, strict=False):
            stages += [Block(before, after, stride=1 if before == after else 2), Block(after, after)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(CHANNELS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> Tensor:
        """Return the mean of the last feature map, (B, 512)."""
        check_images(images, self.bands, self.size)
        return self.pool(self.stages(self.stem(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(images))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, before, H, W) to (B, after, H/stride, W/stride)."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return `relu(shortcut + body)`."""
        return self.activation(self.shortcut(maps) + self.body(maps))


def _standard_stem(bands: int) -> nn.Sequential:
    convolution = nn.Conv2d(bands, CHANNELS[0], 7, stride=2, padding=3, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS[0]), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1))


def _fine_stem(bands: int) -> nn.Sequential:
    convolution = nn.Conv2d(bands, CHANNELS[0], 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS[0]), nn.ReLU(inplace=True))


STEMS = {"standard": _standard_stem, "fine": _fine_stem}
