"""A small network for what a smooth fit knows about substructure, exactly symmetric under the symmetries of the square.

The smooth picture has been subtracted by physics, and matched filters have been run (`input: evidence`), so no depth is needed to
learn either: local patterns of a few pixels along the arc are all there is to see. Convolutions that halve the map, batch
normalisation, and means and maxima over the field at two scales: a substructure may be anywhere, and one strong spot counts as much
as many weak ones.

The sky has no preferred orientation. A frame average (Puny et al. 2022, arXiv:2110.03336: the mean of f(g x) over the group's
elements g) makes any f invariant, and does so at any size of the image, odd or even, where a strided convolution alone is not. The
mean is taken when the network answers; while it learns, it sees one frame of each image, which augmentation chooses. One frame,
chosen from the image by a rule that turns with it, is as symmetric and eight times as fast, and a little less accurate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

Frames = Literal["mean", "one"]
LARGE = 80
"""Side in pixels from which on the first stage halves the map too."""


class ArcNet(nn.Module):
    """Evidence maps, or residuals, (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of maps.
        classes: number of logits.
        size: height and width, at least 32 pixels.
        widths: channels of the stages; each but the first halves the map, the first does from 80 pixels on.
        dropout: of the pooled features.
        scale: by which the input is multiplied: 0.3 for bare residuals, 1 for evidence, which comes in unit range.
        symmetric: answer in the same way under the symmetries of the square (of the rectangle, if the maps are not square).
        frames: how: with the mean over all frames, or with the one frame that `upright` chooses.

    Raises:
        InputError: maps too small, fewer than two stages, a dropout outside [0, 1), or unknown frames.
    """

    summary = "small symmetric network for the evidence that a smooth-lens fit leaves (input: evidence), 0.11 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        widths: tuple[int, ...] = (24, 32, 48, 64, 96),
        dropout: float = 0.1,
        scale: float = 1.0,
        symmetric: bool = True,
        frames: Frames = "mean",
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        if len(widths) < 2 or min(widths) < 1:
            raise InputError(f"widths {tuple(widths)}: give at least two stages of at least one channel")
        if frames not in get_args(Frames):
            raise InputError(f"frames '{frames}': choose from {', '.join(get_args(Frames))}")
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.scale, self.symmetric, self.frames = scale, symmetric, frames
        stages = []
        for k, (before, width) in enumerate(zip((bands, *widths), widths, strict=False)):
            stride = 1 if k == 0 and max(self.size) < LARGE else 2
            stages.append(_stage(before, width, 5 if k == 0 else 3, stride))
        self.stages = nn.ModuleList(stages)
        self.head: nn.Module = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * (widths[-2] + widths[-1]), classes))

    def features(self, maps: Tensor) -> Tensor:
        """Return means and maxima of the last two stages for one frame, (B, features)."""
        return torch.cat([pool for m in self.maps(maps)[-2:] for pool in (m.mean((-2, -1)), m.amax((-2, -1)))], dim=1)

    def maps(self, maps: Tensor) -> list[Tensor]:
        """Return what each stage makes of one frame, (B, width, h, w)."""
        found = []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        images = images * self.scale
        if self.training or not self.symmetric:
            return self.head(self.features(images))
        if self.frames == "one":
            return self.head(self.features(upright(images)))
        return self.head(torch.stack([self.features(frame) for frame in frames(images)]).mean(0))


def frames(images: Tensor) -> Iterator[Tensor]:
    """Yield the images under the eight symmetries of the square, or the four of a rectangle."""
    square = images.shape[-1] == images.shape[-2]
    for turned in (images, images.transpose(-1, -2)) if square else (images,):
        for axes in ((), (-1,), (-2,), (-1, -2)):
            yield turned.flip(axes) if axes else turned


def upright(images: Tensor, of: Tensor | None = None) -> Tensor:
    """Return each of the images `(B, bands, H, W)` in one frame that does not depend on the one it came in.

    It is the frame in which the centre of the squared maps lies right of the middle and below it, and further to the right. Sums
    are in double precision: two frames are confused only where the image itself hardly tells them apart. With `of`, other images
    of the same size choose the frames.
    """
    height, width = images.shape[-2:]
    power = (images if of is None else of).detach().square().sum(1, dtype=torch.float64)
    down = power.sum(2) @ _places(height, power)
    right = power.sum(1) @ _places(width, power)
    for axis, moment in ((-2, down), (-1, right)):
        images = torch.where((moment < 0).view(-1, 1, 1, 1), images.flip(axis), images)
    if height != width:
        return images
    return torch.where((down.abs() > right.abs()).view(-1, 1, 1, 1), images.transpose(-1, -2), images)


def _places(pixels: int, like: Tensor) -> Tensor:
    return torch.arange(pixels, dtype=like.dtype, device=like.device) - (pixels - 1) / 2


def _stage(before: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
