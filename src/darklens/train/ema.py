"""Exponential moving average of a model's weights and batch statistics.

Validation of the raw weights swings widely until the learning rate has decayed; the average is what is judged and kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """The averaged state of a model; the decay warms up, so that the first steps are soon forgotten."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's weights; counters are copied."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averaged, current = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged.append(self.state[name])
                current.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(averaged, current, 1.0 - decay)

    def load(self, state: dict[str, Tensor], steps: int) -> None:
        """Take up a saved average."""
        self.state, self.steps = {k: state[k].clone() for k in self.state}, steps
