"""Images and class indices in memory (or memory-mapped where they are too many), ready for batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darklens.data import Table
from darklens.errors import InputError
from darklens.evaluate.completeness import AGAINST
from darklens.train.classification import Classification
from darklens.train.columns import taken_from, with_planes
from darklens.train.config import Preprocess
from darklens.train.stored import Stored


class StoredImages:
    """Images that stay on disk until somebody asks for them: those of a training set whose network sees only what was fitted.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.shape = (len(table), *table.shape)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        return self.table.images(index)

    def __iter__(self) -> Iterator[np.ndarray]:
        for batch in self.table.batches(256):
            yield from batch["image"]

    def take(self, index: np.ndarray) -> StoredImages:
        """Return those at these positions, on disk as well."""
        return StoredImages(self.table.select(rows=index))


@dataclass(frozen=True)
class ImageSet(Stored):
    """A labelled set of images.

    Args:
        images: `(n, bands, H, W)` float32, an array, a memory map, or what is still on disk.
        labels: `(n,)` class indices.
        ids: `(n,)` names.
        classes: class names in index order.
        fitted: view -> `(n, bands, h, w)`, what smooth fits give a network to see: "residual", "evidence-CROP-BIN"; and the fits'
            reduced chi^2 `(n,)` as "chi2".
        view: what `batch` gives, as `Preprocess.view` names it.
        truth: column -> `(n,)`, what a test looks at afterwards; NaN where unknown.
        columns: column -> `(n,)` float32, what a network may see beside the images; NaN where unknown.
        beside: those of the columns that `batch` gives, as `Preprocess.columns` names them.
    """

    images: np.ndarray | StoredImages
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    fitted: Mapping[str, np.ndarray] = field(default_factory=dict)
    view: str = "image"
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, H, W)`."""
        return tuple(self.images.shape[1:])

    @property
    def pixels(self) -> np.ndarray:
        """The images `(n, bands, H, W)` as an array; those that are still on disk are read."""
        return self.images[:] if isinstance(self.images, StoredImages) else self.images

    @property
    def counts(self) -> dict[str, int]:
        """Images per class."""
        return {name: int((self.labels == i).sum()) for i, name in enumerate(self.classes)}

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return what a network sees (before `prepare`) and labels at these positions, on a device."""
        images = torch.from_numpy(np.ascontiguousarray(self.inputs(index)))
        return images.to(device, non_blocking=True), torch.from_numpy(self.labels[index]).to(device)

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return what a network sees, before `prepare`: images, what was fitted, or residuals before images; then its columns."""
        seen = self._viewed(index)
        return with_planes(seen, np.stack([self.columns[name][index] for name in self.beside], 1)) if self.beside else seen

    def _viewed(self, index: np.ndarray | slice) -> np.ndarray:
        if self.view == "image":
            return self.images[index]
        if self.view == "both":
            return np.concatenate([self.fitted["residual"][index], self.images[index]], axis=1)
        if self.view == "lens":
            return with_planes(np.concatenate([self.fitted["residual"][index], self.images[index]], 1), self.fitted["lens"][index])
        return self.fitted[self.view][index]

    def seen_as(self, settings: Preprocess) -> ImageSet:
        """Return the same set for a network with these settings."""
        return replace(self, view=settings.view, beside=tuple(settings.columns))

    def has(self, settings: Preprocess) -> bool:
        """Whether everything that a network with these settings sees is there, without another fit."""
        return settings.view == "image" or ("residual" if settings.view in ("both", "lens") else settings.view) in self.fitted

    @classmethod
    def from_table(
        cls,
        table: Table,
        task: Classification,
        *,
        rows: np.ndarray | None = None,
        cache: Path | None = None,
        stored: bool = False,
        columns: Sequence[str] = (),
    ) -> ImageSet:
        """Take the labelled rows of a table.

        Args:
            table: the table.
            task: says what the labels mean.
            rows: only these rows; None takes all.
            cache: folder for a memory map, should the images not fit into memory.
            stored: leave the images on disk, for networks that do not see them.
            columns: what networks see beside the images.

        Raises:
            InputError: no rows, rows without a label, a label that the task does not know, or a column that is not there.
        """
        part = table if rows is None or len(rows) == len(table) else table.select(rows=rows)
        labels = task.encode(part.labels)
        if (labels < 0).any():
            raise InputError(f"{int((labels < 0).sum())} of {len(part)} images have no label: put them into one folder per class")
        images = StoredImages(part) if stored else part.image_array(cache=cache)
        truth = {name: part.column(name) for name in AGAINST if name in part.columns}
        return cls(images, labels, part.ids, task.classes, truth=truth, columns=taken_from(part, columns))

    def take(self, index: np.ndarray) -> ImageSet:
        """Return the images at these positions."""
        fitted = {view: array[index] for view, array in self.fitted.items()}
        images = self.images.take(index) if isinstance(self.images, StoredImages) else self.images[index]
        truth, columns = ({name: values[index] for name, values in known.items()} for known in (self.truth, self.columns))
        labels, ids = self.labels[index], self.ids[index]
        return replace(self, images=images, labels=labels, ids=ids, fitted=fitted, truth=truth, columns=columns)

    def joined(self, other: ImageSet) -> ImageSet:
        """Return both sets, images in memory, as one."""
        fitted = {view: np.concatenate([array, other.fitted[view]]) for view, array in self.fitted.items()}
        images, labels, ids = (
            np.concatenate([getattr(one, name) for one in (self, other)]) for name in ("images", "labels", "ids")
        )
        truth, columns = (
            {name: np.concatenate([values, others[name]]) for name, values in own.items() if name in others}
            for own, others in ((self.truth, other.truth), (self.columns, other.columns))
        )
        return replace(self, images=images, labels=labels, ids=ids, fitted=fitted, truth=truth, columns=columns)
