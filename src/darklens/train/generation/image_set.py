"""Images with what is known of each as numbers, for a network that learns to make their like: no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from darklens.data import Table, class_order
from darklens.train.config import Preprocess
from darklens.train.generation.conditions import Conditions
from darklens.train.stored import Stored


@dataclass(frozen=True)
class ConditionedImages(Stored):
    """A set of images and what a network is told about each.

    Args:
        images: `(n, bands, H, W)` float32 in physical units.
        told: `(n, c)` float32, as `Conditions.encode` gives it.
        ids: `(n,)` names.
        labels: `(n,)` class names, None where unknown.
        truth: column -> `(n,)`, NaN where unknown.
        smooth: `(n, bands, H, W)` the smooth lens of each in the same unit, where the network makes what it leaves over.
        lenses: `(n, len(PARAMETERS))` its parameters, NaN where the fit did not converge.
    """

    images: np.ndarray
    told: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    truth: Mapping[str, np.ndarray]
    smooth: np.ndarray | None = None
    lenses: np.ndarray | None = None

    @classmethod
    def from_table(cls, table: Table, rows: np.ndarray) -> ConditionedImages:
        """Take rows of a table, of which nothing is told yet."""
        part = table.select(rows=rows)
        truth = {name: part.column(name) for name in part.columns if name not in ("id", "label", "split")}
        return cls(part.image_array(), np.zeros((len(part), 0), np.float32), part.ids, part.labels, truth)

    def with_conditions(self, conditions: Conditions) -> ConditionedImages:
        """Return the same set with what these conditions tell about its images."""
        return replace(self, told=conditions.encode(self.labels, self.truth))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, H, W)`."""
        return tuple(self.images.shape[1:])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that occur, in the order in which the field has them."""
        return tuple(class_order({label for label in self.labels if label is not None}))

    @property
    def counts(self) -> dict[str, int]:
        """Images per class; "unlabelled" for those without one."""
        found: dict[str, int] = {}
        for label in self.labels:
            found[label or "unlabelled"] = found.get(label or "unlabelled", 0) + 1
        return found

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return the images alone."""
        return self.images[index]

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return images in physical units, their smooth lenses behind them, and what is told about them, on a device."""
        planes = self.images[index] if self.smooth is None else np.concatenate([self.images[index], self.smooth[index]], axis=1)
        images = torch.from_numpy(np.ascontiguousarray(planes))
        return images.to(device, non_blocking=True), torch.from_numpy(self.told[index]).to(device)

    def seen_as(self, settings: Preprocess) -> ConditionedImages:
        """Return the same set: a generator sees images."""
        return self

    def take(self, index: np.ndarray) -> ConditionedImages:
        """Return the images at these positions."""
        truth = {name: values[index] for name, values in self.truth.items()}
        arrays = {name: getattr(self, name) for name in ("images", "told", "ids", "labels", "smooth", "lenses")}
        return replace(self, **{name: values[index] for name, values in arrays.items() if values is not None}, truth=truth)
