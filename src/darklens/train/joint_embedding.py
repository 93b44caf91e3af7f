"""The task of a joint embedding: vectors that agree for two views of one lens, and say as much as they can.

    loss = i |z - z'|^2 / d  +  v [h(z) + h(z')]  +  c [q(z) + q(z')]

with projections z, z' of the two views, `h` the mean over components of max(0, 1 - deviation over the batch), and `q` the sum of
squared covariances of different components over d (VICReg; Bardes, Ponce & LeCun 2022, arXiv:2105.04906, eq. 1 to 6).

The views are what a lens may be seen as: turned and shifted, through worse seeing, with more noise. Deviation and covariance are
those of the images that a device computes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from darklens.evaluate.vectors import effective_rank
from darklens.models import sky_and_noise
from darklens.train import augment_pixels
from darklens.train.augment import augment
from darklens.train.config import TrainConfig
from darklens.train.config_foundation import FoundationConfig
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.image_set import ImageSet
    from darklens.train.loop import Training

TINY = 1e-4
"""Added to variances, so that their root has a slope everywhere (eq. 2 there)."""


@dataclass(frozen=True)
class JointEmbedding:
    """Bring two views of a lens together.

    Args:
        settings: weights of the loss, and how views differ.
    """

    settings: FoundationConfig
    kind: ClassVar[str] = "joint-embedding"

    order = staticmethod(random_order)

    def augment(
        self, images: Tensor, targets: Tensor, settings: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Return two views of each image, `(B, 2 bands, H, W)`, the first one's bands before the second's, and the targets."""
        return torch.cat([self._view(images, settings, generator, share) for _ in range(2)], 1), targets

    def _view(self, images: Tensor, settings: TrainConfig, generator: torch.Generator, share: tuple[slice, int]) -> Tensor:
        turned = augment(images, settings.augment, generator, settings.max_shift, max_rotation=settings.max_rotation, share=share)
        if self.settings.reconvolve:
            turned = augment_pixels.blur(turned, self.settings.reconvolve, generator, share)
        return augment_pixels.add_noise(turned, self.settings.renoise, generator, share) if self.settings.renoise else turned

    def losses(self, model: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far two views, `(B, 2 bands, H, W)`, are apart, and what keeps vectors from becoming one, both weighted."""
        first, second = model(torch.cat(images.chunk(2, 1))).float().chunk(2)
        return self.settings.invariance * (first - second).square().mean(), self.spread(first) + self.spread(second)

    def spread(self, projections: Tensor) -> Tensor:
        """Return the weighted variance and covariance terms of projections `(B, d)`."""
        centred = projections - projections.mean(0)
        hinge = torch.relu(1 - (centred.square().sum(0) / max(len(centred) - 1, 1) + TINY).sqrt()).mean()
        covariance = centred.T @ centred / max(len(centred) - 1, 1)
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        return self.settings.variance * hinge + self.settings.covariance * off_diagonal / projections.shape[1]

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return projections `(B, 2 d)` of two fixed views: the image, and its mirror image with the most noise that views get."""
        noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(0)).to(images)
        other = images.flip(-1) + self.settings.renoise * sky_and_noise(images)[1] * noise
        return torch.cat([model(images), model(other)], 1).float()

    def judge(self, training: Training, images: ImageSet) -> dict[str, float]:
        """Return the loss of the fixed views of all images together, and the effective rank of the projections."""
        answers = training.answers(images)
        return {"val_loss": self.loss_of(answers), "val_rank": effective_rank(np.split(answers, 2, axis=1)[0])}

    def loss_of(self, answers: np.ndarray) -> float:
        """Return the loss of what `predict` answered to all images together."""
        first, second = torch.from_numpy(answers).chunk(2, 1)
        near = self.settings.invariance * (first - second).square().mean()
        return float(near + self.spread(first) + self.spread(second))
