"""A network that could not learn, and what lets it.

Blocks of Conv3x3 - batch norm - ReLU - pooling - Dropout2d with 32, 64, 128 and 256 channels, then 4096-512-3 with dropout 0.5:
2,488,003 parameters for one band, 64x64 pixels and three classes. **As published**, Dropout2d(0.5) followed every block, and the
network stayed at chance (AUC .5086, the loss at ln 3): of four channels in a row all survive once in 16 times, and a batch norm
learns the variance of maps of which half are blank, while at prediction none is. `dropout2d: 0.5` reproduces it; the default, 0,
is half of the fix: at a constant rate the running statistics lag behind the weights, so a recipe lets it fall and averages both.

`blocks: 3` is its sister for lens finding (32-64-128; AUC .9488 as published).
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

CHANNELS = (32, 64, 128, 256)
HIDDEN = 512


class DropoutCNN(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 16 pixels.
        blocks: 4, or 3 for the lens finder.
        dropout2d: probability that a whole channel is dropped behind each block, in training; 0.5 as published.
        dropout: probability that a hidden unit of the linear layers is dropped, in training.

    Raises:
        InputError: image too small, another number of blocks, or a dropout outside [0, 1).
    """

    summary = "plain CNN of 3 or 4 blocks; with dropout2d=0.5, as published, it stays at chance; 2.49 M parameters at 64x64"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        blocks: int = 4,
        dropout2d: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if blocks not in (3, 4):
            raise InputError(f"{blocks} blocks were not published: give 4, or 3 for the lens finder")
        for name, probability in (("dropout2d", dropout2d), ("dropout", dropout)):
            if not 0 <= probability < 1:
                raise InputError(f"{name} {probability} is outside [0, 1): give a probability below 1")
        self.bands, self.size = bands, check_size(size, minimum=16)
        layers: list[nn.Module] = []
        before = bands
        for after in CHANNELS[:blocks]:
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout2d(dropout2d)]
            before = after
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        flat = before * (self.size[0] >> blocks) * (self.size[1] >> blocks)
        self.head = nn.Sequential(nn.Linear(flat, HIDDEN), nn.ReLU(), nn.Dropout(dropout), nn.Linear(HIDDEN, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        return self.head(self.convolutions(images))
