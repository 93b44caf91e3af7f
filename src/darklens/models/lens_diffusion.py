"""A small U-Net for images of lenses out of noise, told the class and the parameters that the image shall have.

Blocks of 2x2 pixels become channels first: most of the work is done on a quarter of the pixels, while each pixel still has its own
channel all the way to the output, where the noise of the image has to come from. Residual blocks with group norms, which time and
conditions scale and shift (FiLM; Perez et al. 2018, arXiv:1709.07871; Dhariwal & Nichol 2021, arXiv:2105.05233), and one
attention at the coarsest level, where a ring has to close. The frame has a middle: the places of the pixels are maps of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention, silu

from darklens.errors import InputError
from darklens.models.ddpm import check_levels, sinusoids
from darklens.models.shapes import check_images, check_size

GROUPS = 8


class LensDiffusion(nn.Module):
    """Noisy images (B, bands + context, H, W), times (B,) and conditions (B, n) to what a sampler needs, (B, bands, H, W).

    What the output means (noise, velocity, flow) is the process's business: the network is the same for each.

    Args:
        bands: number of bands.
        classes: of which an image has one; 0 or 1 for none to tell apart.
        size: height and width.
        context: further planes behind the bands of an image that are seen and not made, such as the smooth lens it belongs to.
        parameters: further numbers that an image is conditioned on. Conditions are the classes, one number each, and then these;
            NaN where nothing is said.
        widths: channels of the levels, the first at half the size, each of the others at half of the one before; multiples of 8.
        blocks: residual blocks a level and direction.
        embedding: length of what time and conditions become.

    Raises:
        InputError: a size that cannot be halved so often, or widths that are no multiples of 8.
    """

    place: Tensor
    task = "generation"
    summary = "small residual U-Net, conditional on class and parameters, for diffusion or flow matching, 1.3 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 1,
        size: int | tuple[int, int] = 64,
        *,
        context: int = 0,
        parameters: int = 0,
        widths: tuple[int, ...] = (32, 64, 96),
        blocks: int = 1,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < GROUPS or any(width % GROUPS for width in widths):
            raise InputError(f"widths {tuple(widths)}: give multiples of {GROUPS}, one a level")
        self.bands, self.size = bands + context, check_size(size, minimum=16)
        check_levels(self.size, len(widths))
        self.conditions = (classes if classes > 1 else 0) + parameters
        self.embedding = embedding
        self.time = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.said = _telling(self.conditions, embedding) if self.conditions else None
        self.register_buffer("place", _places(self.size), persistent=False)
        self.first = nn.Conv2d(4 * self.bands + len(self.place), widths[0], 3, padding=1)
        self._levels(widths, blocks)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.last = _silenced(nn.Conv2d(widths[0], 4 * bands, 3, padding=1))

    def _levels(self, widths: tuple[int, ...], blocks: int) -> None:
        """Make the two halves of the U: on the way up, each level sees what it made on the way down."""
        self.down, self.smaller, self.up, self.larger = (nn.ModuleList() for _ in range(4))
        for k, width in enumerate(widths):
            self.down.append(nn.ModuleList(Residual(width, width, self.embedding) for _ in range(blocks)))
            self.up.append(nn.ModuleList(Residual(2 * width if i == 0 else width, width, self.embedding) for i in range(blocks)))
            if k + 1 < len(widths):
                self.smaller.append(nn.Conv2d(width, widths[k + 1], 3, stride=2, padding=1))
                self.larger.append(nn.Conv2d(widths[k + 1], width, 1))
        deepest = widths[-1]
        self.middle = nn.ModuleList([Residual(deepest, deepest, self.embedding), Residual(deepest, deepest, self.embedding)])
        self.attention = Attention(deepest)

    def forward(self, images: Tensor, time: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Return the prediction; times go from 0 (the image) to 1 (noise), and without conditions nothing is said."""
        check_images(images, self.bands, self.size)
        told = self.time(sinusoids(1000 * time, self.embedding))
        if self.said is not None:
            told = told + self.said(_with_known(conditions, len(images), self.conditions).to(images))
        place = self.place.expand(len(images), -1, -1, -1)
        maps, kept = self.first(torch.cat([pixel_unshuffle(images, 2), place], dim=1)), []
        for k, blocks in enumerate(self.down):
            for block in blocks.children():
                maps = block(maps, told)
            kept.append(maps)
            if k < len(self.smaller):
                maps = self.smaller[k](maps)
        maps = self.middle[1](self.attention(self.middle[0](maps, told)), told)
        for k in reversed(range(len(self.up))):
            maps = torch.cat([maps, kept[k]], dim=1)
            for block in self.up[k].children():
                maps = block(maps, told)
            if k:
                maps = self.larger[k - 1](nn.functional.interpolate(maps, scale_factor=2.0, mode="nearest"))
        return pixel_shuffle(self.last(silu(self.norm(maps))), 2)


class Residual(nn.Module):
    """Two convolutions beside a skip; time and conditions scale and shift between them. It begins as the identity."""

    def __init__(self, before: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, before), nn.GroupNorm(GROUPS, width)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(before, width, 3, padding=1), _silenced(nn.Conv2d(width, width, 3, padding=1))]
        )
        self.told = nn.Linear(embedding, 2 * width)
        self.skip = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, maps: Tensor, told: Tensor) -> Tensor:
        """Return maps `(B, width, h, w)` of maps and an embedding `(B, e)`."""
        scale, shift = self.told(silu(told))[:, :, None, None].chunk(2, dim=1)
        inner = self.convolutions[0](silu(self.norms[0](maps)))
        inner = self.convolutions[1](silu(self.norms[1](inner) * (1 + scale) + shift))
        return self.skip(maps) + inner


class Attention(nn.Module):
    """Every place looks at every other (arXiv:1706.03762, eq. 1), beside a skip; it begins as the identity."""

    def __init__(self, width: int, head: int = 32) -> None:
        super().__init__()
        self.heads = max(1, width // head) if width % max(1, width // head) == 0 else 1
        self.norm = nn.GroupNorm(GROUPS, width)
        self.look = nn.Conv2d(width, 3 * width, 1)
        self.tell = _silenced(nn.Conv2d(width, width, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps `(B, C, h, w)` of maps."""
        batch, width, height, columns = maps.shape
        q, k, v = self.look(self.norm(maps)).reshape(batch, 3, self.heads, -1, height * columns).transpose(-1, -2).unbind(1)
        seen = scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(batch, width, height, columns)
        return maps + self.tell(seen)


def _telling(conditions: int, embedding: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding))


def _with_known(conditions: Tensor | None, count: int, size: int) -> Tensor:
    """Return conditions `(B, 2 n)`: what is said, 0 where nothing is, and then 1 for each that is said."""
    if conditions is None:
        return torch.zeros(count, 2 * size)
    known = conditions.isfinite()
    return torch.cat([torch.where(known, conditions, 0.0), known.to(conditions.dtype)], dim=1)


def _places(size: tuple[int, int]) -> Tensor:
    """Return x, y and the distance from the middle of blocks of 2x2 pixels, `(3, h, w)`, in units of the larger half side."""
    height, width = (side // 2 for side in size)
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    half = max(height, width) / 2
    return torch.stack([x, y, torch.hypot(x, y)]) / half


def _silenced(convolution: nn.Conv2d) -> nn.Conv2d:
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
