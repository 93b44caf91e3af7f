"""Pairs of images in memory, ready for batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from darklens.data import ImagePairs
from darklens.train.config import Preprocess


@dataclass(frozen=True, eq=False)
class PairSet:
    """Coarse images to learn from, and sharp ones to learn.

    Args:
        pairs: the images.
        truth: learn what the sharp images would be without noise, where that is known.
    """

    pairs: ImagePairs
    truth: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, h, w)` of a coarse image."""
        return tuple(self.pairs.low.shape[1:])

    @property
    def targets(self) -> np.ndarray:
        """`(n, bands, H, W)` what is learned and judged."""
        return self.pairs.truth if self.truth else self.pairs.high

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return coarse images."""
        return self.pairs.low[index]

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return coarse and sharp images at these positions, on a device."""
        found = (torch.from_numpy(np.ascontiguousarray(side[index])) for side in (self.pairs.low, self.targets))
        return tuple(images.to(device, non_blocking=True) for images in found)

    def epoch(
        self,
        number: int,
        order: np.ndarray,
        batch_size: int,
        device: torch.device | str = "cpu",
        part: slice = slice(None),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this part of the batches of an epoch, in this order; what does not fill a batch is left out."""
        for step in range(max(1, len(order) // batch_size)):
            yield self.batch(order[step * batch_size : (step + 1) * batch_size][part], device)

    def take(self, index: np.ndarray) -> PairSet:
        """Return the pairs at these positions."""
        return replace(self, pairs=self.pairs.take(index))

    def seen_as(self, settings: Preprocess) -> PairSet:
        """Return the same set: networks that make images see them as they are."""
        return self
