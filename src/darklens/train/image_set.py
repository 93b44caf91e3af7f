"""Images and class indices in memory (or memory-mapped where they are too many), ready for batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darklens.data import Table
from darklens.errors import InputError
from darklens.train.classification import Classification


@dataclass(frozen=True)
class ImageSet:
    """A labelled set of images.

    Args:
        images: `(n, bands, H, W)` float32, an array or a memory map.
        labels: `(n,)` class indices.
        ids: `(n,)` names.
        classes: class names in index order.
        residuals: `(n, 1, H, W)` in units of the noise, where a smooth lens was fitted.
        input: what `batch` gives: "image", "residual" or "both".
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    residuals: np.ndarray | None = None
    input: str = "image"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, H, W)`."""
        return tuple(self.images.shape[1:])

    @property
    def counts(self) -> dict[str, int]:
        """Images per class."""
        return {name: int((self.labels == i).sum()) for i, name in enumerate(self.classes)}

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return what a network sees (before `prepare`) and labels at these positions, on a device."""
        images = torch.from_numpy(np.ascontiguousarray(self.inputs(index)))
        return images.to(device, non_blocking=True), torch.from_numpy(self.labels[index]).to(device)

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return images, residuals, or residuals before images, as `input` says."""
        if self.input == "image":
            return self.images[index]
        residuals = self.residuals[index]
        return residuals if self.input == "residual" else np.concatenate([residuals, self.images[index]], axis=1)

    def epoch(
        self, number: int, order: np.ndarray, batch_size: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, in this order; what does not fill a batch is left out."""
        for step in range(max(1, len(order) // batch_size)):
            yield self.batch(order[step * batch_size : (step + 1) * batch_size], device)

    def seen_as(self, kind: str) -> ImageSet:
        """Return the same set for a network that sees images, residuals or both."""
        return replace(self, input=kind)

    @classmethod
    def from_table(
        cls, table: Table, task: Classification, *, rows: np.ndarray | None = None, cache: Path | None = None
    ) -> ImageSet:
        """Take the labelled rows of a table.

        Args:
            table: the table.
            task: says what the labels mean.
            rows: only these rows; None takes all.
            cache: folder for a memory map, should the images not fit into memory.

        Raises:
            InputError: no rows, rows without a label, or a label that the task does not know.
        """
        part = table if rows is None or len(rows) == len(table) else table.select(rows=rows)
        labels = task.encode(part.labels)
        if (labels < 0).any():
            raise InputError(f"{int((labels < 0).sum())} of {len(part)} images have no label: put them into one folder per class")
        return cls(part.image_array(cache=cache), labels, part.ids, task.classes)

    def take(self, index: np.ndarray) -> ImageSet:
        """Return the images at these positions."""
        residuals = None if self.residuals is None else self.residuals[index]
        return replace(self, images=self.images[index], labels=self.labels[index], ids=self.ids[index], residuals=residuals)
