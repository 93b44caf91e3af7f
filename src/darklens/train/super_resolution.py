"""The task of making images sharper: coarse images in, images on finer pixels out, in the same unit.

Errors are measured in the noise of each coarse image (or in one number for all images), never in units of the sharp image, which
nobody has when it counts. The Fourier term compares amplitudes at every frequency, which an error pixel by pixel, blind to blur,
hardly feels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models import sky_and_noise, upsampled
from darklens.train.augment import augment
from darklens.train.config import TrainConfig
from darklens.train.config_super_resolution import SuperResolutionConfig
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.loop import Training
    from darklens.train.pair_set import PairSet

KEPT = ("dihedral", "rotate90", "flip")
"""Augmentations under which a pair stays a pair."""
SMOOTH = 1e-3
AT_ONCE = 32
"""Images that are asked about at once."""


@dataclass(frozen=True)
class SuperResolution:
    """Sharper images.

    Args:
        settings: the recipe's section.
        scale: fine pixels along the side of a coarse one.
        gain: value of a fine pixel for that of a coarse one.
        typical: bright value of the coarse images.
    """

    settings: SuperResolutionConfig
    scale: int
    gain: float
    typical: float
    kind: ClassVar[str] = "super-resolution"

    order = staticmethod(random_order)

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Cut the same square out of both images of a pair, and turn and mirror both alike.

        Raises:
            InputError: a patch larger than the images.
        """
        if self.settings.patch is not None:
            inputs, targets = self._cut(inputs, targets, self.settings.patch, generator, share)
        state = generator.get_state()
        inputs = augment(inputs, config.augment, generator, share=share)
        generator.set_state(state)
        return inputs, augment(targets, config.augment, generator, share=share)

    def _cut(
        self, low: Tensor, high: Tensor, side: int, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        part, count = share
        room = [length - side for length in low.shape[-2:]]
        if min(room) < 0:
            size = f"{low.shape[-2]}x{low.shape[-1]}"
            raise InputError(f"super_resolution.patch is {side} and the coarse images have {size} pixels: lower it")
        corners = [torch.randint(0, n + 1, (count,), generator=generator)[part].tolist() for n in room]
        found = []
        for images, factor in ((low, 1), (high, self.scale)):
            cut = [
                image[:, factor * y : factor * (y + side), factor * x : factor * (x + side)]
                for image, y, x in zip(images, *corners, strict=True)
            ]
            found.append(torch.stack(cut))
        return found[0], found[1]

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the weighted Fourier term or 0."""
        image, sigma, targets, unit = self._answer(model, inputs, targets)
        loss = self._per_image(image, sigma, targets, unit, self.settings.beta).mean()
        if not self.settings.fourier:
            return loss, torch.zeros_like(loss)
        amplitudes = (torch.fft.rfft2(x.float() / unit, norm="ortho").abs() for x in (image, targets))
        return loss, self.settings.fourier * (next(amplitudes) - next(amplitudes)).abs().mean()

    def _per_image(self, image: Tensor, sigma: Tensor | None, targets: Tensor, unit: Tensor, beta: float = 0.0) -> Tensor:
        error = (image - targets) / unit
        if self.settings.loss == "nll":
            assert sigma is not None, "recipes allow this loss for networks that answer a sigma"
            scaled = sigma / unit
            error = (0.5 * (error / scaled) ** 2 + scaled.log()) * scaled.detach() ** (2 * beta)
        elif self.settings.loss == "charbonnier":
            error = (error**2 + SMOOTH**2).sqrt()
        else:
            error = error.abs()
        return error.mean((1, 2, 3))

    def _answer(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Return the network's images and their sigma, the sharp images, and the unit of errors, all without smooth lenses."""
        bands = targets.shape[1] // 2 if self.settings.smooth_lens else targets.shape[1]
        image, sigma = self.split(model(inputs), bands)
        if self.settings.smooth_lens:  # the smooth lens stands behind the image
            image, targets = image + targets[:, bands:], targets[:, :bands]
        return image, sigma, targets, self.unit(inputs[:, :bands])

    def unit(self, low: Tensor) -> Tensor:
        """Return `(B, bands, 1, 1)` the unit of errors on fine pixels, for coarse images."""
        if self.settings.unit == "noise":
            return self.gain * sky_and_noise(low)[1]
        return torch.full_like(low[:, :, :1, :1], self.gain * self.typical)

    @staticmethod
    def split(output: Tensor, bands: int) -> tuple[Tensor, Tensor | None]:
        """Return image and sigma, `(B, bands, H, W)` float32 each, of what a network answered; None without a sigma."""
        image = output[:, :bands].float()
        return image, output[:, bands:].float().exp() if output.shape[1] > bands else None

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the network's answer, float32: the image, and the log sigma behind it where there is one."""
        return model(inputs).float()

    def judge(self, training: Training, images: PairSet) -> dict[str, float]:
        """Return the mean loss, the PSNR's gain over bicubic in dB, and mean |error| in units of sigma where there is one."""

        def measure(model: nn.Module, own: PairSet) -> np.ndarray:
            parts = [self._measures(model, *batch).cpu().numpy() for batch in batches(own, training.fabric.device)]
            return np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)

        loss, gain = training.measured(images, measure).astype(np.float64).mean(0)
        return {"val_loss": float(loss), "val_gain_db": float(gain)}

    @torch.inference_mode()
    def _measures(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        image, sigma, targets, unit = self._answer(model, inputs, targets)
        loss = self._per_image(image, sigma, targets, unit)
        reference = upsampled(inputs[:, : targets.shape[1]], self.scale, gain=self.gain)
        errors = [((guess - targets) ** 2).mean((1, 2, 3)) for guess in (reference, image)]
        return torch.stack([loss, 10 * torch.log10(errors[0] / errors[1])], 1)


def batches(images: PairSet, device: torch.device | str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all pairs in order."""
    for start in range(0, len(images), AT_ONCE):
        yield images.batch(np.arange(start, min(start + AT_ONCE, len(images))), device)
