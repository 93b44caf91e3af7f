"""Optimisers and learning-rate schedules, by the names that recipes use; PyTorch's own behind them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from darklens.train.config import TrainConfig

MOMENTUM = 0.9


def optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimiser; biases and normalisation gains are not decayed, since they do not make a network larger."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, nesterov=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)


def match_memory_order(opt: torch.optim.Optimizer) -> None:
    """Lay the optimiser's tensors out as their parameters are: fused steps walk through both by address, not by index."""
    for parameter, state in opt.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


class Schedule:
    """A learning-rate schedule: `step()` after every optimiser step, `epoch(loss)` after every epoch."""

    def __init__(self, opt: torch.optim.Optimizer, config: TrainConfig, steps_per_epoch: int) -> None:
        total = config.epochs * steps_per_epoch
        schedulers = torch.optim.lr_scheduler
        self.per_step = config.schedule in ("onecycle", "cosine")
        self.inner: LRScheduler
        match config.schedule:
            case "onecycle":
                rise = config.warmup if config.warmup * total > 1 else 0.0  # where no step is left to rise over, begin at the top
                self.inner = schedulers.OneCycleLR(opt, config.lr, total_steps=total, pct_start=rise)
            case "cosine":
                self.inner = schedulers.CosineAnnealingLR(opt, T_max=total)
            case "exponential":
                self.inner = schedulers.ExponentialLR(opt, config.gamma)
            case "plateau":
                self.inner = ReduceLROnPlateau(opt, "min", factor=config.gamma, patience=config.patience)
            case _:
                self.inner = schedulers.LambdaLR(opt, lambda epoch: 1.0)

    def step(self) -> None:
        """Advance a schedule that moves with every step."""
        if self.per_step:
            self.inner.step()

    def epoch(self, validation_loss: float) -> None:
        """Advance a schedule that moves with every epoch."""
        if isinstance(self.inner, ReduceLROnPlateau):
            self.inner.step(validation_loss)
        elif not self.per_step:
            self.inner.step()

    def state(self) -> dict:
        """Return what JSON can hold of the state, which is all of it but functions."""
        plain = (bool, int, float, str, list, dict, type(None))
        return {k: v for k, v in self.inner.state_dict().items() if isinstance(v, plain)}

    def load(self, state: dict) -> None:
        """Take up a saved state."""
        self.inner.load_state_dict(self.inner.state_dict() | state)
