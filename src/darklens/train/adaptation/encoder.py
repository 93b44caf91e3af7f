"""A classifier taken apart: what its last layer sees, and its logits, for networks of any architecture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darklens.train.augment import augment
from darklens.train.config import Preprocess
from darklens.train.preprocess import prepare


class Encoder(nn.Module):
    """A network that returns its features `(B, d)` beside its logits; without a last linear layer the logits are the features.

    Args:
        network: prepared images to outputs; its weights are shared.
        outputs: number of its outputs.
    """

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network = network
        linear = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == outputs]
        self.head = linear[-1] if linear else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and outputs."""
        if self.head is None:
            outputs = self.network(images)
            return outputs.float(), outputs
        kept: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        try:
            outputs = self.network(images)
        finally:
            handle.remove()
        features = kept[0]
        return (features.flatten(1, -2).mean(1) if features.ndim > 2 else features).float(), outputs

    def frozen(self) -> Encoder:
        """Hold all weights, and answer as in use."""
        self.requires_grad_(False)
        return self.eval()

    def keep_statistics(self) -> Encoder:
        """Let the weights learn, with the statistics of the normalisation held and nothing dropped; the head stays as it is."""
        self.train()
        for module in self.modules():
            if isinstance(module, _BatchNorm | nn.modules.dropout._DropoutNd):
                module.eval()
        if self.head is not None:
            self.head.requires_grad_(False)
        return self


def batches(size: int, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Yield positions below `size` in batches of one size, in random order; what does not fill a batch is left out."""
    order = torch.randperm(size, generator=generator).numpy()
    batch_size = min(batch_size, size)
    for step in range(size // batch_size):
        yield order[step * batch_size : (step + 1) * batch_size]


def endless(size: int, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Yield such batches for ever."""
    while True:
        yield from batches(size, batch_size, generator)


def prepared(
    inputs: np.ndarray,
    index: np.ndarray,
    settings: Preprocess,
    device: torch.device,
    kinds: tuple[str, ...] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a batch as the network takes it, augmented where a generator is given."""
    images = prepare(torch.from_numpy(np.ascontiguousarray(inputs[index])).to(device), settings)
    return images if generator is None else augment(images, list(kinds), generator)
