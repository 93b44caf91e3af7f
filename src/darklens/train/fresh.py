"""Images that are drawn while a network trains: nothing is stored, and no image is seen twice.

Row `epoch n + i` of the preset's own endless table is the i-th image of an epoch, so a resumed training sees what an uninterrupted
one sees. A thread draws ahead of the training; rendering and fitting let go of the interpreter's lock.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from darklens.fit import Plan
from darklens.simulate import Preset
from darklens.train.classification import Classification
from darklens.train.columns import stacked, with_planes
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs

AHEAD = 8
"""Batches that are drawn ahead."""


@dataclass(frozen=True)
class FreshImages:
    """A training set without end, with the interface of `ImageSet` that training needs.

    Args:
        preset: what is drawn.
        seed: of the rows; validation and test have others.
        size: images that count as an epoch.
        task: says what the labels mean.
        plan: how smooth lenses are fitted, for networks that see residuals.
        settings: what the network sees.
    """

    preset: Preset
    seed: int
    size: int
    task: Classification
    plan: Plan | None = None
    settings: Preprocess = field(default_factory=Preprocess)
    ahead: ClassVar[int] = AHEAD

    def __len__(self) -> int:
        return self.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, H, W)`."""
        return self.preset.image_shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.task.classes

    @property
    def counts(self) -> dict[str, int]:
        """Images per class in the first epoch."""
        drawn = Counter(self.preset.labels(self.size))
        return {name: sum(n for c, n in drawn.items() if self.task.group.get(c, c) == name) for name in self.task.classes}

    def seen_as(self, settings: Preprocess) -> FreshImages:
        """Return the same images for a network with these settings."""
        return replace(self, settings=settings)

    def draw(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images `(count, bands, H, W)` and class indices of rows from `first` on; columns stand behind the bands."""
        scene = self.preset.draw(count, self.seed, first)
        images, truth = self.preset.images(scene)
        columns = stacked({name: truth[name] for name in self.settings.columns}, self.settings.columns, count)
        return with_planes(images, columns), self.task.encode(np.array(scene.labels, dtype=object))

    def inputs(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the network sees of these rows (before `prepare`), and class indices."""
        images, labels = self.draw(first, count)
        return network_inputs(images, self.plan, self.settings)[0], labels

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return as many images as `index` has, of the first rows, to try things on."""
        return _on(device, *self.inputs(0, len(index)))

    def epoch(
        self,
        number: int,
        order: np.ndarray,
        batch_size: int,
        device: torch.device | str = "cpu",
        part: slice = slice(None),
    ) -> Generator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, drawn ahead by a thread; rows are independent, so their order needs no shuffling.

        Of every batch only this `part` is drawn: where several processes share a batch, each draws its own rows.
        """
        steps = max(1, len(order) // batch_size)
        first, last, _ = part.indices(batch_size)
        ready: queue.Queue = queue.Queue(maxsize=AHEAD)
        ended = threading.Event()

        def put(item: object) -> bool:
            while not ended.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def work() -> None:
            try:
                for step in range(steps):
                    if not put(self.inputs(number * self.size + step * batch_size + first, last - first)):
                        return
            except BaseException as error:  # the training has to hear of it
                put(error)

        thread = threading.Thread(target=work, name="darklens-fresh", daemon=True)
        thread.start()
        try:
            for _ in range(steps):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield _on(device, *item)
        finally:
            ended.set()
            thread.join()


def _on(device: torch.device | str, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=True), torch.from_numpy(labels).to(device)
