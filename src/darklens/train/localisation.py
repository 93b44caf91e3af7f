"""The task of saying where a clump is: a map of how likely it is at each pixel, and there its place and mass with their errors.

The map is learned by the cross-entropy against Gaussian spots (Law & Deng 2018; Zhou et al. 2019, arXiv:1904.07850, without their
focal weights: then the map keeps the meaning of a probability). Place and mass are learned near true clumps alone, with Gaussian
likelihoods: where an image says nothing about a clump, the network learns to say so by a large error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from darklens.train.config import TrainConfig
from darklens.train.config_localisation import LocalisationConfig
from darklens.train.preprocess import prepare
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.clump_set import ClumpSet
    from darklens.train.loop import Training

AT_ONCE = 128
"""Images that are asked about at once."""
NEAR = 1.5
"""Pixels from a clump within which place and mass are learned."""
MIDDLE = 9.0
"""log10 M_sun that stands at zero of the network's mass."""


@dataclass(frozen=True)
class Localisation:
    """Where clumps are.

    Args:
        settings: the recipe's section.
        scale: arcsec a pixel of the network's map.
    """

    settings: LocalisationConfig
    scale: float
    kind: ClassVar[str] = "localisation"

    order = staticmethod(random_order)

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Mirror and transpose images and places alike, each image as chance has it."""
        part, count = share
        if "dihedral" not in config.augment:
            return inputs, targets
        chance = (torch.rand(3, count, generator=generator)[:, part] < 0.5).to(inputs.device)
        x, y, mass = targets.unbind(-1)
        for k, axis in ((0, -1), (1, -2)):
            inputs = torch.where(chance[k, :, None, None, None], inputs.flip(axis), inputs)
        x, y = torch.where(chance[0, :, None], -x, x), torch.where(chance[1, :, None], -y, y)
        if inputs.shape[-1] == inputs.shape[-2]:
            turned = chance[2]
            inputs = torch.where(turned[:, None, None, None], inputs.transpose(-1, -2), inputs)
            x, y = torch.where(turned[:, None], y, x), torch.where(turned[:, None], x, y)
        return inputs, torch.stack([x, y, mass], -1)

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of the map, summed over an image, and the weighted likelihood of place and mass."""
        answers = model(inputs).float()
        spots, likelihood = self._per_image(answers, targets)
        return spots.mean(), self.settings.weight * likelihood.mean()

    def _per_image(self, answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return both losses of each image, `(B,)`."""
        height, width = answers.shape[-2:]
        there = torch.isfinite(targets[..., 2])
        x, y, mass = (torch.where(there, column, 0.0)[..., None, None] for column in targets.unbind(-1))
        rows = torch.arange(height, device=answers.device)[:, None] - (y / self.scale + 0.5 * (height - 1))
        columns = torch.arange(width, device=answers.device) - (x / self.scale + 0.5 * (width - 1))
        square = rows**2 + columns**2  # (B, K, h, w) from each clump, in pixels
        spot = torch.exp(-0.5 * square / self.settings.width**2) * there[..., None, None]
        spots = binary_cross_entropy_with_logits(answers[:, 0], spot.amax(1), reduction="none").sum((1, 2))
        dx, dy, log_place, log10_m, log_mass = (channel[:, None] for channel in answers[:, 1:].unbind(1))
        place = 0.5 * ((dx + columns) ** 2 + (dy + rows) ** 2) * torch.exp(-2 * log_place) + 2 * log_place
        weight = 0.5 * ((log10_m + MIDDLE - mass) * torch.exp(-log_mass)) ** 2 + log_mass
        near = (square < NEAR**2) & there[..., None, None]
        count = near.sum((1, 2, 3)).clamp_min(1)
        return spots, torch.where(near, place + weight, 0.0).sum((1, 2, 3)) / count

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the network's maps, `(B, 6, h, w)` float32: logit; dx, dy in pixels and ln sigma; log10 M_sun - 9 and ln sigma."""
        return model(inputs).float()

    def judge(self, training: Training, images: ClumpSet) -> dict[str, float]:
        """Return the mean loss on validation images, and its part of the map alone."""

        @torch.inference_mode()
        def measure(model: nn.Module, own: ClumpSet) -> np.ndarray:
            parts = []
            for start in range(0, len(own), AT_ONCE):
                inputs, targets = own.batch(np.arange(start, min(start + AT_ONCE, len(own))), training.fabric.device)
                found = self._per_image(self.predict(model, prepare(inputs, training.preprocess)), targets)
                parts.append(torch.stack(found, 1).cpu().numpy())
            return np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)

        spots, likelihood = training.measured(images, measure).astype(np.float64).mean(0)
        return {"val_loss": float(spots + self.settings.weight * likelihood), "val_map": float(spots)}
