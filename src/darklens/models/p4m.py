"""Convolutions that share weights over the eight symmetries of the square: the group p4m (Cohen & Welling 2016, 1602.07576).

A map on the group has eight values at a pixel, one for each way in which a pattern may lie. Turning or mirroring the image turns
the maps and permutes those eight, exactly, so that one kernel learns what eight would have to, and a network whose last step is
blind to the eight is blind to how the image lies on the sky. Maps on the group are stored as ordinary ones, (B, 8 channels, H, W),
the eight of a channel beside one another.

A kernel with an even side halves an even map without preferring a side; a map with an odd side is halved by the same kernel spread
by one pixel. So everything is exact at any size, odd or even.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

ORDER = 8
"""Symmetries of the square."""


def turned(maps: Tensor, element: int) -> Tensor:
    """Return maps (..., H, W) under a symmetry: 0 to 3 quarter turns, 4 to 7 the same after a mirror image."""
    return torch.rot90(maps.flip(-1) if element >= 4 else maps, element % 4, (-2, -1))


def _permutations() -> list[list[int]]:
    """Return for each element g the elements g^-1 h, h = 0 to 7, found by what they do to a pattern without symmetry."""
    pattern = torch.arange(9).view(3, 3)
    named = {tuple(turned(pattern, h).flatten().tolist()): h for h in range(ORDER)}
    inverse = [next(h for h in range(ORDER) if torch.equal(turned(turned(pattern, h), g), pattern)) for g in range(ORDER)]
    return [[named[tuple(turned(turned(pattern, h), inverse[g]).flatten().tolist())] for h in range(ORDER)] for g in range(ORDER)]


class Lifting(nn.Conv2d):
    """Images (B, bands, H, W) to maps on the group (B, 8 channels, ceil(H/2), ceil(W/2)): a kernel in its eight orientations.

    Args:
        bands: of the images.
        channels: on the group.
        kernel: side, even.
    """

    def __init__(self, bands: int, channels: int, kernel: int = 4) -> None:
        super().__init__(bands, channels, kernel, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps on the group."""
        filters = torch.stack([turned(self.weight, g) for g in range(ORDER)], 1).flatten(0, 1)
        odd = [side % 2 for side in images.shape[-2:]]
        if any(odd):
            filters = _spread(filters, *odd)
        padding = [self.kernel_size[0] // 2 - 1 + one for one in odd]
        return conv2d(images, filters, stride=2, padding=padding)


def _spread(filters: Tensor, rows: int, columns: int) -> Tensor:
    """Average each kernel over its two places beside a pixel, along the axes where the map has a pixel in the middle."""
    return avg_pool2d(pad(filters, (columns, columns, rows, rows)), (1 + rows, 1 + columns), stride=1)


class GroupConv2d(nn.Module):
    """Maps on the group to maps on the group, (B, 8 before, H, W) to (B, 8 after, H, W); Cohen & Welling 2016, eq. 11.

    Args:
        before: channels that enter.
        after: channels that leave.
        kernel: side, odd.
    """

    index: Tensor

    def __init__(self, before: int, after: int, kernel: int = 3) -> None:
        super().__init__()
        self.before, self.after, self.kernel = before, after, kernel
        self.weight = nn.Parameter(torch.empty(after, before * ORDER, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in")
        places = torch.arange(kernel * kernel).view(kernel, kernel)
        index = [torch.stack([h * kernel * kernel + turned(places, g) for h in row]) for g, row in enumerate(_permutations())]
        self.register_buffer("index", torch.stack(index).flatten(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps on the group."""
        chosen = self.weight.reshape(self.after, self.before, -1)[:, :, self.index]
        filters = chosen.view(self.after, self.before, ORDER, ORDER, self.kernel, self.kernel).transpose(1, 2)
        return conv2d(maps, filters.reshape(ORDER * self.after, ORDER * self.before, self.kernel, self.kernel), padding="same")


class GroupNorm(nn.Module):
    """Batch normalisation with one mean and one deviation for the eight orientations of a channel.

    Args:
        channels: on the group.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, 8 channels, H, W)."""
        beside = maps.contiguous().view(maps.shape[0], -1, ORDER * maps.shape[-2], maps.shape[-1])
        return self.norm(beside).view(maps.shape)


def halved(maps: Tensor) -> Tensor:
    """Halve maps (..., H, W): means of two pixels along an even side, of one and its neighbours' halves along an odd one."""
    for axis in (-2, -1):
        if maps.shape[axis] % 2:
            edge = pad(maps, (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1), mode="replicate")
            left, middle, right = (edge.narrow(axis, k, maps.shape[axis]) for k in range(3))
            maps = (0.25 * (left + right) + 0.5 * middle).index_select(axis, _every_other(maps.shape[axis], maps.device))
        else:
            maps = 0.5 * (maps.unflatten(axis, (-1, 2)).sum(axis if axis == -1 else -2))
    return maps


def _every_other(side: int, device: torch.device) -> Tensor:
    return torch.arange(0, side, 2, device=device)


def invariants(maps: Tensor) -> Tensor:
    """Return means and maxima over field and orientations of maps on the group, (B, 8 channels, H, W) to (B, 2 channels)."""
    values = maps.reshape(maps.shape[0], maps.shape[1] // ORDER, -1)
    return torch.cat([values.mean(-1), values.amax(-1)], 1)
