"""What is asked of a network when one of its answers is to be explained.

An attribution says how much each pixel of what the network sees spoke for a class. What is explained is the *margin*

    m_c(x) = z_c(x) - mean of z_k(x) over k != c,

since the softmax does not change when a number is added to all logits z, and an attribution should not either. "Without" is said by
a baseline, the input from which that which might matter has been taken: for an image its blurred self (Fong & Vedaldi 2017,
arXiv:1704.03296), which has the lens and not its details; for what a smooth fit leaves, the same fit without a residual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from darklens.errors import InputError
from darklens.fit.evidence import CHANNELS

BLUR = 4.0
"""Standard deviation of the blurred baseline in pixels, about that of the arcs' width."""
SILENCED = ("residual", "significance", "slope")
"""Maps of the evidence that are zero where the smooth lens explains the image; the others are of the smooth lens itself."""


class Task(Protocol):
    """What turns a network's output into logits: `darklens.train.classification.Classification`, for one."""

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return `(B, k)` logits."""


@dataclass(frozen=True)
class Question:
    """A network, the inputs that it is asked about, and the class that is to be explained for each.

    Args:
        network: prepared inputs `(B, C, h, w)` to outputs; its layers are what class activation maps are made of.
        logits: the network's outputs to logits `(B, k)`.
        inputs: `(B, C, h, w)`, as the network sees them.
        baseline: the same without what might matter.
        targets: `(B,)` class indices.
        seed: of methods that draw.
    """

    network: nn.Module
    logits: Callable[[Tensor], Tensor]
    inputs: Tensor
    baseline: Tensor
    targets: Tensor
    seed: int = 0

    @classmethod
    def of(cls, network: nn.Module, task: Task, inputs: Tensor, targets: Tensor, *, kind: str, seed: int = 0) -> Question:
        """Ask a trained classifier.

        Args:
            network: the network.
            task: turns what it puts out into logits.
            inputs: `(B, C, h, w)` prepared.
            targets: `(B,)` class indices.
            kind: `input` of the run's preprocessing, as of `baseline_of`.
            seed: of methods that draw.
        """

        def logits(output: Tensor) -> Tensor:
            return task.predict(lambda ignored: output, inputs)  # type: ignore[arg-type]  # what has answered already

        return cls(network, logits, inputs, baseline_of(inputs, kind), targets, seed)

    def with_network(self, network: nn.Module) -> Question:
        """Return the same question to another network of the same form."""
        return replace(self, network=network)

    def take(self, rows: slice | np.ndarray) -> Question:
        """Return the question about some of the images."""
        return replace(self, inputs=self.inputs[rows], baseline=self.baseline[rows], targets=self.targets[rows])

    def probability(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return `(B,)` the probability of the target."""
        return self.logits(self.network(inputs)).softmax(1).gather(1, targets[:, None])[:, 0]


class Margins(nn.Module):
    """A question as a module, inputs `(B, C, h, w)` to the margins of every class `(B, k)`: what captum's methods take."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.network, self.logits = question.network, question.logits

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the margins."""
        logits = self.logits(self.network(inputs))
        k = logits.shape[1]
        return logits - (logits.sum(1, keepdim=True) - logits) / (k - 1)


def margin_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `(B,)` margins of target classes from logits `(B, k)`."""
    own = logits.gather(1, targets[:, None])[:, 0]
    return own - (logits.sum(1) - own) / (logits.shape[1] - 1)


def baseline_of(inputs: Tensor, kind: str) -> Tensor:
    """Return inputs without what might matter.

    Args:
        inputs: `(B, C, h, w)` prepared.
        kind: `input` of the recipe's preprocessing: image, residual, both, lens or evidence.

    Raises:
        InputError: no such kind.
    """
    found = inputs.clone()
    if kind == "evidence":
        found[:, [CHANNELS.index(name) for name in SILENCED]] = 0.0
    elif kind in ("residual", "both", "lens"):  # beside a residual the image stays: it says where the arcs are
        found[:, 0] = 0.0
    elif kind == "image":
        found = blurred(inputs, BLUR)
    else:
        raise InputError(f"input {kind!r} has no baseline: image, residual, both, lens and evidence have one")
    return found


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return images `(B, C, h, w)` under a Gaussian of that standard deviation in pixels; their edges are continued."""
    reach = min(int(3 * sigma), min(images.shape[-2:]) - 1)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device) / sigma) ** 2)
    taps = taps / taps.sum()
    planes = images.flatten(0, 1)[:, None]
    planes = functional.pad(planes, (reach, reach, reach, reach), mode="replicate")
    planes = functional.conv2d(functional.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return planes[:, 0].view(images.shape)


def strength(attribution: Tensor) -> Tensor:
    """Return maps `(B, h, w)` of how much a pixel matters from attributions `(B, C, h, w)`: magnitudes, summed over channels."""
    return attribution.abs().sum(1)
