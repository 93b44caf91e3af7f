"""Count what is in a set of images: classes, splits, shapes, types, ranges, duplicates; one pass, no image kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darklens.data.record import Record

UNLABELLED = "unlabelled"


@dataclass
class Noticed:
    """What readers noticed in images that pass by: pixels filled, and notes.

    Args:
        filled: number of pixels that were not finite or masked, and were filled.
        images: number of images that had such pixels.
        notes: what was noticed -> number of images.
    """

    filled: int = 0
    images: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on, counting."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: Record) -> None:
        """Count a record."""
        for note in filter(None, record.metadata.get("note", "").split("; ")):
            self.notes[note] += 1
        if filled := record.metadata.get("filled"):
            self.filled += filled
            self.images += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data; `filled` is empty where no pixel was."""
        return {"notes": dict(self.notes), "filled": {"pixels": self.filled, "images": self.images} if self.filled else {}}

    def lines(self) -> list[str]:
        """Return the counts as sentences."""
        filled = (
            f"{self.filled} pixels that were not finite or masked, in {_images(self.images)}, took the level of their band's frame"
        )
        return ([filled] if self.filled else []) + [f"{note} ({_images(n)})" for note, n in self.notes.items()]


@dataclass
class Tally:
    """Counts over records.

    Args:
        labels: class -> number of images.
        splits: split -> number of images.
        shapes: `bands x y x x` -> number of images.
        bands: names of the bands, in order, where known -> number of images.
        dtypes: type as stored -> number of images.
        ranges: class -> least and largest pixel.
        truth: truth column -> least and largest value, and how many have one.
        noticed: what the readers noticed.
        duplicates: id of an image and of the first with the same content.
        leaks: number of duplicates whose first lies in another split.
        relabelled: number of duplicates whose first has another class.
    """

    labels: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    bands: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    truth: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    noticed: Noticed = field(default_factory=Noticed)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    leaks: int = 0
    relabelled: int = 0
    _first: dict[bytes, tuple[str, str | None, str | None]] = field(default_factory=dict, repr=False)
    _sums: np.ndarray = field(default_factory=lambda: np.zeros(3), repr=False)

    @property
    def images(self) -> int:
        """Number of images."""
        return self.labels.total()

    def add(self, record: Record, content: str | None = None) -> None:
        """Count a record; `content` is its content hash if that is known."""
        label = record.label or UNLABELLED
        self.labels[label] += 1
        self.splits[record.split or "none"] += 1
        self.shapes["x".join(map(str, record.image.shape))] += 1
        self.dtypes[record.dtype] += 1
        if bands := record.metadata.get("bands"):
            self.bands[",".join(bands)] += 1
        low, high = float(record.image.min()), float(record.image.max())
        a, b = self.ranges.get(label, (low, high))
        self.ranges[label] = (min(a, low), max(b, high))
        pixels = record.image.astype(np.float64)
        self._sums += (pixels.size, pixels.sum(), np.square(pixels).sum())
        for name, value in record.truth.items():
            a, b, n = self.truth.get(name, (value, value, 0))
            self.truth[name] = (min(a, value), max(b, value), n + 1)
        self.noticed.add(record)
        self._compare(record, content or record.content_hash)

    def _compare(self, record: Record, content: str) -> None:
        known = self._first.setdefault(bytes.fromhex(content)[:16], (record.id, record.label, record.split))
        if known[0] != record.id:
            self.duplicates.append((record.id, known[0]))
            self.relabelled += known[1] != record.label
            self.leaks += known[2] != record.split

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        count, total, squares = self._sums
        mean = total / count if count else 0.0
        return {
            "images": self.images,
            "labels": dict(self.labels),
            "splits": dict(self.splits),
            "shapes": dict(self.shapes),
            "bands": dict(self.bands),
            "dtypes": dict(self.dtypes),
            "ranges": {label: list(span) for label, span in self.ranges.items()},
            "mean": mean,
            "std": max(squares / count - mean**2, 0.0) ** 0.5 if count else 0.0,
            "truth": {name: {"min": a, "max": b, "n": n} for name, (a, b, n) in self.truth.items()},
            **self.noticed.as_dict(),
            "duplicates": [list(pair) for pair in self.duplicates],
            "duplicates_across_splits": self.leaks,
            "duplicates_across_classes": self.relabelled,
        }

    def lines(self) -> list[str]:
        """Return the counts as lines to print."""
        lines = [
            f"images      {self.images}",
            *(f"  {label:<12}{n:>8}  pixels {_span(self.ranges[label])}" for label, n in self.labels.items()),
            f"shapes      {_counts(self.shapes)}",
            *([f"bands       {'; '.join(f'{names} ({n})' for names, n in self.bands.items())}"] if self.bands else []),
            f"stored as   {_counts(self.dtypes)}",
            f"splits      {_counts(self.splits)}",
            f"duplicates  {len(self.duplicates)}",
        ]
        lines += [f"  {a} is {b}" for a, b in self.duplicates[:5]]
        lines += [f"  {self.leaks} lie in another split than their first"] if self.leaks else []
        lines += [f"  {self.relabelled} have another class than their first"] if self.relabelled else []
        lines += [f"truth       {name} {_span((a, b))}, {_images(n)}" for name, (a, b, n) in self.truth.items()]
        if self.noticed.filled:
            lines.append(f"filled      {self.noticed.filled} pixels, not finite or masked, in {_images(self.noticed.images)}")
        return lines + [f"note        {note} ({_images(n)})" for note, n in self.noticed.notes.items()]


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"


def _span(span: tuple[float, float]) -> str:
    return f"{span[0]:.6g} to {span[1]:.6g}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in counter.most_common())
