"""The task of making images: a network learns what there is of noise in an image that is mixed with it, at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from darklens.train.augment import augment
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.generation.conditions import Conditions
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.generation.intensity import Intensity
from darklens.train.generation.process import Process
from darklens.train.generation.smooth_lenses import Backdrop
from darklens.train.preprocess import prepare
from darklens.train.seeds import seed_at
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.loop import Training

JUDGED_AT_ONCE = 64


@dataclass(frozen=True)
class Generation:
    """Images out of noise.

    Args:
        process: how images become noise, and what is predicted.
        intensity: from physical units to what is mixed.
        conditions: what is told.
        dropout: fraction of the images of which nothing is told, and of each single thing.
        backdrop: what is seen of smooth lenses, where the network makes what they leave over; their images stand behind the bands.
    """

    process: Process
    intensity: Intensity
    conditions: Conditions
    dropout: float = 0.1
    backdrop: Backdrop | None = None

    kind = "generation"

    order = staticmethod(random_order)

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Turn and mirror images, leave out some of what is told, and draw the noise that they will be mixed with, and when.

        Args:
            inputs: `(B, bands, H, W)` in physical units, with the planes of smooth lenses behind them if there is a backdrop.
            targets: `(B, c)` what is told; it holds for an image in any orientation.
            config: the recipe's section.
            generator: source of every choice, for the whole batch.
            share: which part of how many images these are.

        Returns:
            `(B, 2 bands, H, W)` mapped images before their noise, and what is seen beside them behind both; and `(B, 1 + c)` times
            before what is told.
        """
        part, count = share
        images, beside = self.seen(augment(inputs, config.augment, generator, config.max_shift, share=share))
        told = self._left_out(targets, generator, share)
        noise = torch.randn((count, *images.shape[1:]), generator=generator)[part].to(images.device)
        time = self.process.draw_times(count, generator)[part].to(images.device)
        return torch.cat([images, noise, beside], dim=1), torch.cat([time[:, None], told], dim=1)

    def seen(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is mixed with noise, `(B, bands, H, W)`, and what is seen beside it, `(B, 0 or bands, H, W)`, of a batch."""
        if self.backdrop is None:
            return self.intensity.forward(inputs), inputs[:, :0]
        images, smooth = inputs.chunk(2, dim=1)
        return self.intensity.forward(self.backdrop.residual(images, smooth)), self.backdrop.intensity.forward(smooth)

    def _left_out(self, told: Tensor, generator: torch.Generator, share: tuple[slice, int]) -> Tensor:
        """Return what is told `(B, c)` with NaN for what this time is not: everything, or any one thing."""
        part, count = share
        k = len(self.conditions.classes)
        if not self.conditions.size:
            return told
        widths = [*([k] if k else []), *[1] * len(self.conditions.columns)]
        draw = torch.rand((count, 1 + len(widths)), generator=generator)[part] < self.dropout
        silent = (draw[:, 1:] | draw[:, :1]).repeat_interleave(torch.tensor(widths, dtype=torch.long), dim=1)
        return told.masked_fill(silent.to(told.device), float("nan"))

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of what is predicted, and zero; arguments as `augment` returns them."""
        images, noise, *beside = inputs.chunk(2 if self.backdrop is None else 3, dim=1)
        loss = self._error(model, images, targets[:, 1:], noise, targets[:, 0], *beside).mean()
        return loss, torch.zeros_like(loss)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return images `(B, bands, H, W)` in physical units, as the network sees them through as much noise, told nothing."""
        images, beside = self.seen(inputs)
        time = torch.full((len(images),), 0.5, device=images.device)
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images.device)
        mixed = self.process.mix(images, noise, time)
        silent = images.new_full((len(images), self.conditions.size), float("nan"))
        predicted = model(torch.cat([mixed, beside], dim=1), time, silent).float()
        made = self.intensity.inverse(self.process.solve(mixed, predicted, time)[0])
        return made if self.backdrop is None else self.backdrop.image(made, inputs.chunk(2, dim=1)[1])

    def judge(self, training: Training, images: ConditionedImages) -> dict[str, float]:
        """Return the mean loss of the judged weights on a set, as `val_loss`: every image with a time and noise of its own."""

        def measure(model: nn.Module, own: ConditionedImages) -> np.ndarray:
            return self.errors(model, own, training.preprocess, training.fabric.device)[:, None]

        return {"val_loss": float(training.measured(images, measure).mean())}

    def errors(self, model: nn.Module, images: ConditionedImages, settings: Preprocess, device: torch.device | str) -> np.ndarray:
        """Return the squared error of each image, `(n,)`, at a time and with noise that are functions of its name alone."""
        seeds, found = [crc32(str(name).encode()) for name in images.ids], []
        for first in range(0, len(images), JUDGED_AT_ONCE):
            here = slice(first, first + JUDGED_AT_ONCE)
            pixels, told = images.batch(np.arange(len(images))[here], device)
            mapped, beside = self.seen(prepare(pixels, settings))
            noise = [torch.randn(mapped.shape[1:], generator=torch.Generator().manual_seed(seed_at(s, 5))) for s in seeds[here]]
            time = (torch.tensor(seeds[here], dtype=torch.float64) / 2**32).clamp_min(1e-3).float().to(device)
            with torch.inference_mode():
                found.append(self._error(model, mapped, told, torch.stack(noise).to(device), time, beside).cpu().numpy())
        return np.concatenate(found)

    def _error(
        self, model: nn.Module, images: Tensor, told: Tensor, noise: Tensor, time: Tensor, beside: Tensor | None = None
    ) -> Tensor:
        """Return the mean squared error of each image, `(B,)`, in float32."""
        mixed = self.process.mix(images, noise, time)
        predicted = model(mixed if beside is None else torch.cat([mixed, beside], dim=1), time, told).float()
        return mse_loss(predicted, self.process.target(images, noise, time), reduction="none").mean((1, 2, 3))
