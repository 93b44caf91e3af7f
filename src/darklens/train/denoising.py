"""The task of a denoiser that has never seen an image without noise: predict one noisy copy of a residual from another.

Residuals of a smooth fit are in units of their noise, which is white and of unit variance. With n white noise of its own,

    a = r + t n,    b = r - n / t

have independent noise, as its covariance is 1 - 1 = 0, and the same structure: the best that can be said about b, knowing a, is the
structure (recorrupted-to-recorrupted; Pang et al. 2021, CVPR, eq. 7; data thinning, Neufeld et al. 2024, JMLR 25, 57). Without the
terms that no guess f(a) can change, and whose mean is known,

    |f - b|^2  ->  |f - r|^2 + (2 / t) f n - 1

a pixel, with the structure's own squared error as its mean: how much of the structure's power has not been found can be told
without knowing the structure. No label is needed, no simulation without noise, and real images will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from darklens.train.augment import augment
from darklens.train.config import TrainConfig
from darklens.train.seeds import seed_at
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.image_set import ImageSet
    from darklens.train.loop import Training

LOOKS = 4
"""Draws of the noise under which each image is judged."""


@dataclass(frozen=True)
class Denoising:
    """Predict what two noisy copies have in common.

    Args:
        split: t above: the noise that the network's copy gets more, in units of what it has.
    """

    split: float = 0.5
    residual: ClassVar[bool] = True
    kind: ClassVar[str] = "denoising"

    order = staticmethod(random_order)

    def augment(
        self, images: Tensor, targets: Tensor, settings: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Return residuals `(B, bands, H, W)`, turned and mirrored, with noise of their own behind them, and the targets."""
        turned = augment(images, settings.augment, generator, settings.max_shift, max_rotation=settings.max_rotation, share=share)
        part, count = share
        noise = torch.randn((count, *turned.shape[1:]), generator=generator)[part].to(turned)
        return torch.cat([turned, noise], dim=1), targets

    def losses(self, model: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of the structure of images with noise, `(B, 2 bands, H, W)`, and nothing else."""
        loss = self.errors(model, *images.chunk(2, dim=1))[:, 0].mean()
        return loss, torch.zeros_like(loss)

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return `(B, 2)`: mean squared errors of the structure, of the network's and of none at all.

        The noise is a function of the image alone, and another for each: what is measured does not depend on the batch.
        """
        seeds = [crc32(image.tobytes()) for image in images.float().cpu().numpy()]
        found = []
        for look in range(LOOKS):
            generators = (torch.Generator().manual_seed(seed_at(seed, look)) for seed in seeds)
            noise = torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators])
            found.append(self.errors(model, images, noise.to(images)))
        return torch.stack(found).mean(0)

    def errors(self, model: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
        """Return `(B, 2)`: mean squared errors of the structure a pixel, of the network's and of none at all (see above)."""
        images, noise = images.float(), noise.float()
        guess = model(images + self.split * noise).float()
        own = (guess - images).square() + 2 / self.split * guess * noise
        return torch.stack([part.mean((1, 2, 3)) - 1 for part in (own, images.square())], dim=1)

    def judge(self, training: Training, images: ImageSet) -> dict[str, float]:
        """Return the loss under fixed noise, and the part of the structure's power that was not found (1 for predicting none)."""
        loss, unexplained = self.summary(training.answers(images))
        return {"val_loss": float(loss.mean()), "val_unexplained": float(unexplained[0])}

    def summary(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(n, 1)` losses of what `predict` answered, and the part `(1,)` of the structure's power that is left."""
        errors, powers = np.split(answers.astype(np.float64), 2, axis=1)
        return errors, errors.mean(0) / max(powers.mean(), 1e-300)
