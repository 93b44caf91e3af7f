"""The task of a masked autoencoder: predict the hidden patches of an image from those that are seen.

The error of a hidden pixel counts as 1/sigma^2 (`loss: noise`). Residuals of a smooth fit are in units of the noise, which is
known: their loss is chi^2 a pixel, and nobody gets below the noise's own 1. The noise of an image is only estimated, and a bright
arc is hundreds of times above it: its loss is ln(1 + chi^2), the likelihood with an unknown noise level (its maximum over the
level is the logarithm of the mean square), so that a bright image does not drown the residual beside it. `loss: pixels` is the
plain squared error of He et al. (2022, arXiv:2111.06377, sect. 3), in whatever unit the image has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from darklens.models import sky_and_noise
from darklens.train.augment import augment
from darklens.train.config import TrainConfig
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.models.mae import MAE
    from darklens.models.mae_arc import MAEArc
    from darklens.train.image_set import ImageSet
    from darklens.train.loop import Training

LOOKS = 4
"""Masks under which an image is judged: of three quarters, four that hide every patch three times."""
FAINTEST = 0.02
"""Part of an image's deviation below which its noise is not believed: images without noise would weigh without limit."""


@dataclass(frozen=True)
class MaskedAutoencoding:
    """Predict what is hidden.

    Args:
        unit: "noise" or "pixels".
        residual: whether the first band is in units of the noise already.
    """

    unit: str = "noise"
    residual: bool = False
    kind: ClassVar[str] = "masked-autoencoder"

    order = staticmethod(random_order)

    def augment(
        self, images: Tensor, targets: Tensor, settings: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Turn, mirror and shift the images `(B, bands, H, W)` as the recipe says; the targets, labels, are not used."""
        return augment(
            images, settings.augment, generator, settings.max_shift, max_rotation=settings.max_rotation, share=share
        ), targets

    def losses(self, model: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch under random masks, and a second part that this task does not have."""
        loss = self.lost(self.errors(*model(images))[0]).mean()
        return loss, torch.zeros_like(loss)

    def errors(self, predicted: Tensor, target: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(B, bands)` mean squared errors of hidden pixels in the loss's unit: of the prediction, and of the seen mean.

        Args:
            predicted: `(B, bands, H, W)`.
            target: what is there, of the same shape.
            hidden: `(B, 1, H, W)`, 1 where a pixel was hidden, else 0.
        """
        predicted, target = predicted.float(), target.float()
        weight, count = self._weight(target)[..., 0, 0], hidden.sum((-2, -1))
        seen = (target * (1 - hidden)).sum((-2, -1), True) / (1 - hidden).sum((-2, -1), True)
        first, second = (weight * (hidden * (guess - target) ** 2).sum((-2, -1)) / count for guess in (predicted, seen))
        return first, second

    def lost(self, errors: Tensor) -> Tensor:
        """Return the loss `(B, bands)` of errors `(B, bands)`."""
        if self.unit == "pixels":
            return errors
        known = int(self.residual)
        return torch.cat([errors[:, :known], torch.log1p(errors[:, known:])], 1)

    def _weight(self, target: Tensor) -> Tensor:
        """Return `(B, bands, 1, 1)` what a squared error counts."""
        if self.unit == "pixels":
            return torch.ones_like(target[:, :, :1, :1])
        faintest = FAINTEST * target.std((-2, -1), keepdim=True)
        weight = torch.maximum(sky_and_noise(target)[1], faintest).clamp_min(1e-6) ** -2
        return torch.cat([torch.ones_like(weight[:, :1]), weight[:, 1:]], 1) if self.residual else weight

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return `(B, 2 bands)`: errors of each band, then those of the seen mean, under a few masks, the same for all images."""
        network = cast("MAE | MAEArc", model)
        orders = fixed_orders(images, network.patches, network.seen)
        found = [torch.cat(self.errors(*model(images, order)), 1) for order in orders]
        return torch.stack(found).mean(0)

    def judge(self, training: Training, images: ImageSet) -> dict[str, float]:
        """Return the loss under fixed masks, and the error as a fraction of that of the seen mean (predicting the mean is 1)."""
        loss, unexplained = self.summary(training.answers(images))
        return {"val_loss": float(loss.mean()), "val_unexplained": float(unexplained.mean())}

    def summary(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(n, bands)` losses of what `predict` answered, and the fraction `(bands,)` of the mean's error that is left."""
        errors, means = np.split(answers.astype(np.float64), 2, axis=1)
        return self.lost(torch.from_numpy(errors)).numpy(), errors.mean(0) / np.maximum(means.mean(0), 1e-300)


def fixed_orders(images: Tensor, patches: int, seen: int) -> list[Tensor]:
    """Return orders `(B, N)` of patches that are the same for all images; each of the few shows other patches."""
    order = torch.randperm(patches, generator=torch.Generator().manual_seed(0)).to(images.device)
    return [order.roll(-k * seen).expand(len(images), -1) for k in range(min(LOOKS, patches // seen))]
