"""The task of saying what a number is, and how well it is known: a posterior for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from darklens.models import Posterior
from darklens.train.augment import augment
from darklens.train.config import TrainConfig
from darklens.train.inference.image_set import ParameterSet
from darklens.train.inference.space import ParameterSpace
from darklens.train.logits import predict_logits
from darklens.train.task import random_order

if TYPE_CHECKING:
    from darklens.train.loop import Training

JUDGED = 64
"""Draws of which the median is taken while a network trains."""


@dataclass(frozen=True)
class Inference:
    """Posteriors of the parameters of a space: maximum likelihood of the true ones, under what the network says of the image."""

    space: ParameterSpace
    kind: ClassVar[str] = "inference"

    order = staticmethod(random_order)

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Return images as the recipe wants them augmented; the parameters are those that this leaves as they are."""
        return augment(inputs, config.augment, generator, share=share, max_shift=config.max_shift), targets

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of -ln q(z | image) a parameter, and nothing beside."""
        loss = -model(inputs, targets).mean() / targets.shape[1]
        return loss, torch.zeros_like(loss)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return what the posterior is told from, `(B, K)` float32."""
        return model(inputs).float()

    def judge(self, training: Training, images: ParameterSet) -> dict[str, float]:
        """Return the mean of -ln q a parameter, and the mean absolute error of the medians in units of the prior's scatter."""
        device = training.fabric.device

        def measure(model: nn.Module, own: ParameterSet) -> np.ndarray:
            posterior = cast(Posterior, model)
            told = torch.from_numpy(predict_logits(model, self, own, training.preprocess, device)).to(device)
            z = torch.from_numpy(own.space.to_z(own.theta)).to(device)
            with torch.no_grad():
                loss = -posterior.log_prob(told, z) / z.shape[1]
            error = (posterior.sample(told, JUDGED, 0).median(1).values - z).abs().mean(1)
            return torch.stack([loss, error], 1).cpu().numpy()

        loss, error = training.measured(images, measure).astype(np.float64).mean(0)
        return {"val_loss": float(loss), "val_error": float(error)}
