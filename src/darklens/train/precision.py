"""Which number format trains fastest here, found by trying.

bf16 doubles the speed of processors with matrix units and halves that of processors without: the only honest way to know is to
time a few steps. The choice is kept in the run, so that a resumed training goes on in the same format.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

FORMATS = ("float32", "bf16")
GAIN = 1.15
"""bf16 is chosen only if it is faster than float32 by this factor: below it, the rounding is not worth it."""

TRIAL_IMAGES = 16
"""Batch of the trial on a processor: enough to tell, since a format without hardware behind it is tens of times slower."""


def choose(
    model: nn.Module, step: Callable[[nn.Module, Tensor, Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[str, str]:
    """Time training steps in both formats on a copy of the model.

    Args:
        model: the network, on its device.
        step: maps (model, images, labels) to a loss.
        images: one batch.
        labels: its labels.

    Returns:
        The chosen format and a sentence for the log.
    """
    if images.device.type == "cpu":
        images, labels = images[:TRIAL_IMAGES], labels[:TRIAL_IMAGES]
    seconds = {name: time_step(model, step, images, labels, name) for name in FORMATS}
    best = "bf16" if seconds["bf16"] * GAIN < seconds["float32"] else "float32"
    rates = ", ".join(f"{name} {len(images) / s:.0f}" for name, s in seconds.items())
    return best, f"precision {best}, measured on this machine (training images/s: {rates})"


def time_step(model: nn.Module, step: Callable, images: Tensor, labels: Tensor, name: str, repeats: int = 3) -> float:
    """Return the seconds of the fastest of a few training steps in a format, on a copy of the model; see `choose`."""
    trial = lay_out(copy.deepcopy(model))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        with autocast(images.device.type, name):
            loss = step(trial, images, labels)
        loss.backward()
        if images.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def lay_out(model: nn.Module) -> nn.Module:
    """Return the model in channels-last order, in which convolutions run 10% to 20% faster on processors, and bf16 much faster."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # which torch documents, and types for tensors


def autocast(device: str, name: str) -> torch.autocast:
    """Return the autocast context of a format."""
    return torch.autocast(device, torch.bfloat16, enabled=name == "bf16")
