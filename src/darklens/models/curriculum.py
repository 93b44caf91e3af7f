"""A weight that rises while a network trains: classes first, physics later."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError


class Curriculum(nn.Module):
    """From 0 to 1 in equal steps, then 1. How far it has come is part of the network's state, so that a resumed training goes on.

    Args:
        ramp: steps.

    Raises:
        InputError: fewer than 1 step.
    """

    steps: Tensor

    def __init__(self, ramp: int) -> None:
        super().__init__()
        if ramp < 1:
            raise InputError(f"ramp {ramp} is no number of training steps: give 1 or more")
        self.ramp = ramp
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, training: bool) -> Tensor:
        """Return the weight, a scalar; a step of a training counts."""
        weight = (self.steps / self.ramp).clamp(max=1.0)
        if training:
            self.steps += 1
        return weight
