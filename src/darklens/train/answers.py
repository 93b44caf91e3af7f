"""What a model says of images, and the stream of it: the same for one network and for an ensemble."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.data import Record, resize_image
from darklens.errors import InputError
from darklens.runs import Evaluation
from darklens.train.classification import Classification
from darklens.train.columns import stacked, values_of, with_planes
from darklens.train.image_set import ImageSet
from darklens.train.novelty import Unusual
from darklens.train.preprocess import check, check_bands

BATCH = 256


@dataclass(frozen=True)
class Answers:
    """What a model says of n images.

    Args:
        probabilities: `(n, k)`, calibrated.
        sets: `(n, k)` bool, the conformal sets; None where nothing is known of validation images.
        unusual: which images are unlike the training images, and why; None for runs that do not know.
        disagreement: `(n,)` mutual information in nats between the class and the member of an ensemble, else None.
        chosen: `(n,)` indices of the classes that they are called, where a threshold decides; else None.
    """

    probabilities: np.ndarray
    sets: np.ndarray | None = None
    unusual: Unusual | None = None
    disagreement: np.ndarray | None = None
    chosen: np.ndarray | None = None

    @property
    def called(self) -> np.ndarray:
        """Index of the class that each image is called, `(n,)`: the most probable one, unless a threshold decides."""
        return self.probabilities.argmax(1) if self.chosen is None else self.chosen


class Judge(ABC):
    """Images to answers.

    Attributes:
        classes: names in the order of the probabilities.
        shape: `(bands, H, W)` of the images it takes.
        coverage: wanted of its conformal sets.
        task: what labels mean.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    coverage: float
    task: Classification

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, where those of the training images are known."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Numbers that it sees beside an image, by name; their planes stand behind the bands."""
        return ()

    @property
    @abstractmethod
    def held_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Calibrated probabilities `(n, k)` and class indices of the validation images; None where they were not kept."""

    @property
    @abstractmethod
    def prior(self) -> dict[str, float] | None:
        """Class -> fraction that the probabilities hold for, that of the training images; None where it is not known."""

    @abstractmethod
    def answers(self, images: np.ndarray) -> Answers:
        """Return what it says of checked images `(n, bands, H, W)`, with the planes of its columns (`with_planes`)."""

    @abstractmethod
    def answers_of(self, images: ImageSet) -> Answers:
        """Return what it says of a set; fits that the set has already are not repeated."""

    @abstractmethod
    def calibrated_on(self, images: np.ndarray, *, log: Callable[[str], None] = lambda sentence: None) -> Judge:
        """Return the same with the PSF and the noise of its fits measured on images `(n, bands, H, W)`, without labels."""

    def doubts(self, images: np.ndarray) -> list[str]:
        """Return sentences on what it takes for granted and checked images `(n, bands, H, W)` as a whole contradict."""
        return []

    @abstractmethod
    def on(self, device: str) -> Judge:
        """Return the same with its networks on a device."""

    @abstractmethod
    def evaluation(self, name: str) -> Evaluation:
        """Return the folder of an evaluation on other data."""

    def probabilities(self, images: np.ndarray | Tensor, columns: Mapping[str, Any] | None = None) -> np.ndarray:
        """Return `(n, k)` calibrated class probabilities of images `(n, bands, H, W)`, `(n, H, W)` with one band, or one image.

        Args:
            images: the images.
            columns: column -> n numbers, NaN where unknown, for a model that sees columns beside the images.

        Raises:
            InputError: rank, bands, size, values or columns that do not fit.
        """
        checked = self.checked(images)
        return self.answers(with_planes(checked, stacked(columns or {}, self.columns, len(checked)))).probabilities

    def checked(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Return images `(n, bands, H, W)` as `probabilities` takes them, float32.

        Raises:
            InputError: rank, bands, size or values that do not fit.
        """
        array = np.asarray(images, dtype=np.float32)
        array = array[None] if array.ndim == 2 else array
        array = array[:, None] if array.ndim == 3 and self.shape[0] == 1 else array
        array = array[None] if array.ndim == 3 else array
        return np.stack([check(image, self.shape, f"image {i}") for i, image in enumerate(array)])

    def answer(
        self, records: Iterable[Record], *, resize: bool = False, on_skip: Callable[[str, str], None] | None = None
    ) -> Iterator[tuple[list[Record], Answers]]:
        """Judge a stream of records, batch by batch; memory stays flat.

        Args:
            records: images with names, and with what the columns hold as their truth (`darklens.train.columns.completed`).
            resize: accept other sizes by resampling.
            on_skip: called with (name, reason) of an image that does not fit; None raises the reason instead.

        Yields:
            Records and what it says of them.
        """
        stream = iter(records)
        while batch := list(islice(stream, BATCH)):
            fitting: list[Record] = []
            images, beside = [], []
            for record in batch:
                try:
                    check_bands(record.metadata.get("bands"), self.bands, record.source or record.id)
                    image = resize_image(record.image, self.shape[1:]) if resize else record.image
                    image, known = check(image, self.shape, record.source or record.id), values_of(record, self.columns)
                    images.append(image)
                    beside.append(known)
                    fitting.append(record)
                except InputError as error:
                    if on_skip is None:
                        raise
                    on_skip(record.id, str(error))
            if fitting:
                yield fitting, self.answers(with_planes(np.stack(images), np.array(beside)))

    def predict(
        self, records: Iterable[Record], *, resize: bool = False, on_skip: Callable[[str, str], None] | None = None
    ) -> Iterator[tuple[list[Record], np.ndarray]]:
        """Classify a stream of records; as `answer`, with nothing but the `(n, k)` probabilities."""
        for fitting, answers in self.answer(records, resize=resize, on_skip=on_skip):
            yield fitting, answers.probabilities


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities `(n, k)` float64 of logits."""
    return torch.softmax(torch.from_numpy(np.asarray(logits, dtype=np.float64)), dim=1).numpy()
