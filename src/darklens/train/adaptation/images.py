"""The two sides of an adaptation: images of the target without labels, and labelled images of what the run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from darklens.data import MANIFEST, Record, Table, content_hash, read, resize_image, split_of
from darklens.errors import InputError
from darklens.runs import Run
from darklens.train.classification import Classification
from darklens.train.image_set import ImageSet
from darklens.train.preprocess import check
from darklens.train.redrawn import redrawn

Skip = Callable[[str, str], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Target:
    """Images of the target, divided by content: copies of an image stand on one side.

    Args:
        images: `(n, bands, H, W)` to adapt to; their labels have not been looked at.
        test: the images of the other part that have a label, for the test alone; None if there is none.
        checksum: of all images on both sides, whatever their order.
        rows: how many there are.
    """

    images: np.ndarray
    test: ImageSet | None
    checksum: str
    rows: int


def read_target(
    records: Iterable[Record],
    shape: tuple[int, int, int],
    task: Classification,
    *,
    test_fraction: float,
    seed: int,
    resize: bool = False,
    on_skip: Skip,
) -> Target:
    """Divide a stream of records.

    Args:
        records: images, with labels or without.
        shape: `(bands, H, W)` of the model.
        task: says what labels mean, for the test part.
        test_fraction: part that is kept for the test.
        seed: of the division.
        resize: accept other sizes by resampling.
        on_skip: receives (name, reason) of an image that does not fit.

    Raises:
        InputError: a label in the test part that the run does not know.
    """
    sides = {"adapt": 1 - test_fraction, "test": test_fraction}
    learned: dict[str, np.ndarray] = {}
    ids, labels, tested, hashes = [], [], [], []
    for record in records:
        try:
            image = check(resize_image(record.image, shape[1:]) if resize else record.image, shape, record.source or record.id)
        except InputError as error:
            on_skip(record.id, str(error))
            continue
        hashes.append(content := content_hash(image))
        if split_of(content, sides, seed) == "adapt":
            learned.setdefault(content, image)
        elif record.label is not None:
            ids.append(record.id)
            labels.append(task.encode(np.array([record.label], dtype=object))[0])
            tested.append(image)
    order = sorted(learned)  # what is learned depends on the images alone, not on their order in folders named by class
    images = np.stack([learned[content] for content in order]) if order else np.zeros((0, *shape), np.float32)
    test = ImageSet(np.stack(tested), np.array(labels), np.array(ids, dtype=object), task.classes) if tested else None
    return Target(images, test, hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest(), len(hashes))


def source_images(run: Run, task: Classification, shape: tuple[int, int, int], n: int, path: Path | None = None) -> ImageSet:
    """Return up to n labelled images of the kind that a run was trained on, evenly spread over them.

    Args:
        run: the trained run; without a path its own training images are read, or drawn again from its preset.
        task: says what labels mean.
        shape: of the model's images.
        n: how many at most.
        path: labelled images to use instead.

    Raises:
        InputError: the training images are not there any more and cannot be drawn again, or none of them fits.
    """
    if path is not None:
        return _labelled(read(path), task, shape, n, str(path))
    card = run.data or {}
    train = (card.get("splits") or {}).get("train") or {}
    if train.get("path") and (Path(train["path"]) / MANIFEST).is_file():
        table = Table.open(train["path"])
        if table.checksum == train.get("checksum") and table.shape == tuple(shape):
            return ImageSet.from_table(table, task, rows=spread(len(table), n))
    if (again := redrawn(run, "train", n)) is not None:
        return ImageSet.from_table(again, task)
    raise InputError(f"the training images of {run} are not at {train.get('path')} any more: give labelled ones with --source")


def _labelled(records: Iterable[Record], task: Classification, shape: tuple[int, int, int], n: int, name: str) -> ImageSet:
    kept = sample((r for r in records if r.label is not None), n)
    if not kept:
        raise InputError(f"{name} has no labelled image: give a table, or a folder with one folder per class")
    images = np.stack([check(r.image, shape, r.source or r.id) for r in kept])
    labels = task.encode(np.array([r.label for r in kept], dtype=object))
    return ImageSet(images, labels, np.array([r.id for r in kept], dtype=object), task.classes)


def spread(size: int, n: int) -> np.ndarray:
    """Return at most n of the positions below `size`, evenly spread: tables may be sorted by class."""
    return np.unique(np.linspace(0, size - 1, min(n, size)).astype(np.int64))


class Sample(Generic[Item]):
    """At most n of what passes by, evenly spread over it, never holding more than 2 n.

    Args:
        n: how many.
    """

    def __init__(self, n: int) -> None:
        self.n, self._kept, self._stride, self._seen = n, list[Item](), 1, 0

    def add(self, item: Item) -> None:
        """Look at the next one."""
        if self._seen % self._stride == 0:
            self._kept.append(item)
            if len(self._kept) == 2 * self.n:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._seen += 1

    def items(self) -> list[Item]:
        """Return what was kept."""
        return [self._kept[i] for i in spread(len(self._kept), self.n)] if self._kept else []


def sample(records: Iterable[Record], n: int) -> list[Record]:
    """Return at most n of a stream of records, evenly spread over it, never holding more than 2 n."""
    found = Sample[Record](n)
    for record in records:
        found.add(record)
    return found.items()
