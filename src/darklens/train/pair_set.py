"""Pairs of images in memory, ready for batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from darklens.data import ImagePairs
from darklens.train.config import Preprocess
from darklens.train.stored import Stored


@dataclass(frozen=True, eq=False)
class PairSet(Stored):
    """Coarse images to learn from, and sharp ones to learn.

    Args:
        pairs: the images.
        truth: learn what the sharp images would be without noise, where that is known.
        smooth: the smooth lenses of the coarse images `(n, bands, h, w)` and of the sharp ones, where they are used.
    """

    pairs: ImagePairs
    truth: bool = False
    smooth: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, h, w)` of a coarse image."""
        return tuple(self.pairs.low.shape[1:])

    @property
    def targets(self) -> np.ndarray:
        """`(n, bands, H, W)` what is learned and judged."""
        if not self.truth:
            return self.pairs.high
        assert self.pairs.truth is not None, "whoever asks for the truth has seen that there is one"
        return self.pairs.truth

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return coarse images."""
        return self.pairs.low[index]

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return coarse and sharp images at these positions, on a device, each with its smooth lens behind it if there is one."""
        found = []
        for k, side in enumerate((self.pairs.low, self.targets)):
            images = side[index] if self.smooth is None else np.concatenate([side[index], self.smooth[k][index]], axis=1)
            found.append(torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=True))
        return found[0], found[1]

    def take(self, index: np.ndarray) -> PairSet:
        """Return the pairs at these positions."""
        smooth = self.smooth and tuple(images[index] for images in self.smooth)
        return replace(self, pairs=self.pairs.take(index), smooth=smooth)

    def seen_as(self, settings: Preprocess) -> PairSet:
        """Return the same set: networks that make images see them as they are."""
        return self
