"""Ours for super-resolution: a small residual on the bicubic image, in units of the noise, symmetric, with a sigma for each pixel.

- The last convolution begins at zero: untrained, the network answers bicubic, and all it learns is what bicubic lacks.
- It sees an image less its sky in units of that image's own noise (`sky_and_noise`), once as it is and once compressed, and answers
  in them: another unit of flux changes nothing. How much wider the PSF of the coarse image is goes in as a plane, so that one
  network may serve several.
- The answer is the mean over the eight symmetries of the square (a frame average, Puny et al. 2022, arXiv:2110.03336), exactly
  equivariant; in training each image is seen in one frame, which augmentation chooses.
- With `smooth_lens` it also sees what a fitted smooth lens leaves over of the coarse image, and answers what it leaves over of the
  fine one: zero, untrained. A gate for every pixel takes over, by interpolation, what is more than noise, so that the convolutions
  need not carry large residuals to a part in a hundred.
- Beside the image stands the logarithm of sigma (Nix & Weigend 1994): what cannot be known is said.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from darklens.models.contrast import sky_and_noise
from darklens.models.p4m import ORDER, turned
from darklens.models.srresnet import Residual, shuffles

BRIGHT = 100.0
"""Signal to noise that counts as one in the linear channel."""
CLEAR = 10.0
"""What a smooth lens leaves over, in units of the noise, that counts as one in the linear channel."""
RANGE = 8.0
"""Largest |log sigma| in units of the noise."""


class SRResNetArc(nn.Module):
    """Coarse images (B, bands, h, w) to fine ones and their log sigma, (B, 2 bands, scale h, scale w).

    With `smooth_lens`, coarse images with their smooth lenses behind them (B, 2 bands, h, w) to fine ones less theirs.

    Args:
        bands: of the images.
        scale: fine pixels along the side of a coarse one.
        gain: value of a fine pixel for that of a coarse one.
        blur: deviation in fine pixels by which the coarse image's PSF is wider.
        blocks: residual blocks.
        width: channels.
        smooth_lens: begin with a smooth lens instead of bicubic.
        symmetric: answer with the mean over the symmetries of the square (of the rectangle).

    Raises:
        InputError: a scale below 2.
    """

    summary = (
        "ours: a zero-initialised residual on bicubic in units of the noise, symmetric, with a sigma a pixel, 0.16 M parameters"
    )
    task = "super-resolution"
    heteroscedastic = True

    def __init__(
        self,
        bands: int = 1,
        *,
        scale: int = 2,
        gain: float = 1.0,
        blur: float = 0.0,
        blocks: int = 6,
        width: int = 32,
        smooth_lens: bool = False,
        symmetric: bool = True,
    ) -> None:
        super().__init__()
        self.bands, self.scale, self.gain, self.blur, self.symmetric = bands, scale, gain, blur, symmetric
        self.smooth_lens = smooth_lens
        self.head = nn.Conv2d((4 if smooth_lens else 2) * bands + 1, width, 5, padding=2)
        self.body = nn.Sequential(*(Residual(width, nn.SiLU()) for _ in range(blocks)))
        self.tail = nn.Sequential(*shuffles(width, scale, nn.SiLU))
        self.answer = nn.Conv2d(width, (3 if smooth_lens else 2) * bands, 3, padding=1)
        for parameter in self.answer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the fine images, then their log sigma, beside one another."""
        low = inputs[:, : self.bands]
        sky, noise = sky_and_noise(low)
        seen = self._seen((low - sky) / noise, (low - inputs[:, self.bands :]) / noise if self.smooth_lens else None)
        if self.training or not self.symmetric:
            found = self._one_frame(seen)
        else:
            found = torch.stack([_back(self._one_frame(turned(seen, g)), g) for g in _frames(seen)]).mean(0)
        correction, log_sigma, *gate = found.float().split(self.bands, 1)
        left = low - inputs[:, self.bands :] if self.smooth_lens else low
        base = interpolate(left.float(), scale_factor=self.scale, mode="bicubic", align_corners=False)
        base = gate[0].tanh() * base if gate else base
        sigma = RANGE * torch.tanh(log_sigma / RANGE) + (self.gain * noise).log()
        return torch.cat([self.gain * (base + noise * correction), sigma], 1)

    def _seen(self, signal: Tensor, left: Tensor | None) -> Tensor:
        """Return the channels that the network sees of an image, and of what a smooth lens leaves over, in units of the noise."""
        smooth = [] if left is None else [left / CLEAR, torch.asinh(left)]
        return torch.cat([signal / BRIGHT, torch.asinh(signal), *smooth, torch.full_like(signal[:, :1], self.blur)], 1)

    def _one_frame(self, seen: Tensor) -> Tensor:
        maps = self.head(seen)
        return self.answer(self.tail(maps + self.body(maps)))


def _frames(images: Tensor) -> range:
    """Return the symmetries of the square, or of the rectangle: those that keep the sides."""
    return range(ORDER) if images.shape[-1] == images.shape[-2] else range(0, ORDER, 2)


def _back(maps: Tensor, element: int) -> Tensor:
    """Undo `turned`."""
    upright = torch.rot90(maps, -(element % 4), (-2, -1))
    return upright.flip(-1) if element >= 4 else upright
