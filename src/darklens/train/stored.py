"""What all sets of images have in common that are stored, not drawn: an epoch goes through their rows."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor


class Stored:
    """A set whose `batch` takes any rows."""

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return inputs and targets of these rows, on a device."""
        raise NotImplementedError(f"{type(self).__name__} has no rows")

    def epoch(
        self,
        number: int,
        order: np.ndarray,
        batch_size: int,
        device: torch.device | str = "cpu",
        part: slice = slice(None),
    ) -> Generator[tuple[Tensor, Tensor]]:
        """Yield this part of the batches of an epoch, in this order; what does not fill a batch is left out."""
        for step in range(max(1, len(order) // batch_size)):
            yield self.batch(order[step * batch_size : (step + 1) * batch_size][part], device)
