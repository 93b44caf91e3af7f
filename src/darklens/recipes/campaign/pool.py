"""The pool: images without labels, wherever they lie; known by content, so that no one is asked for twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from darklens.data import MANIFEST, Record, Table, content_hash, read, resize_image
from darklens.errors import InputError
from darklens.train.preprocess import check

BATCH = 256
Skip = Callable[[str, str], None]


@dataclass(frozen=True)
class Pool:
    """Images that may be asked for.

    Args:
        path: where they lie: a table, a folder, whatever darklens reads.
        shape: `(bands, H, W)` of the network's images.
        resize: accept other sizes by resampling.
        hdu: extension of FITS files.
        hashes: id -> content hash of each image that belongs to the pool; none before `scan` or `loaded`.
    """

    path: Path
    shape: tuple[int, int, int]
    resize: bool = False
    hdu: int | str | None = None
    hashes: dict[str, str] = field(default_factory=dict)

    def scan(self, *, without: Collection[str], on_skip: Skip, progress: Callable[[int], None]) -> tuple[Pool, dict[str, int]]:
        """Look at every image once.

        Args:
            without: content hashes of images that must not be asked for: those of training and validation.
            on_skip: receives (name, reason) of what cannot be used.
            progress: receives the number of images seen.

        Returns:
            The pool with its hashes, and how many images were copies of others in it (`copies`) or of those (`held_out`).

        Raises:
            InputError: an id comes twice, or no image is left.
        """
        hashes: dict[str, str] = {}
        contents, counts = set(without), {"copies": 0, "held_out": 0}
        for record, image in self._images(on_skip):
            content = content_hash(image)
            if record.id in hashes:
                raise InputError(f"{self.path} has the id {record.id!r} twice: give each image a name of its own")
            if content in contents:
                counts["held_out" if content in without else "copies"] += 1
                continue
            contents.add(content)
            hashes[record.id] = content
            progress(len(hashes))
        if not hashes:
            size = "x".join(map(str, self.shape[1:]))
            out = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items())
            raise InputError(f"{self.path} has no image to ask about ({out}): give {self.shape[0]}-band images of {size} pixels")
        return Pool(self.path, self.shape, self.resize, self.hdu, hashes), counts

    def stream(self, ids: Collection[str]) -> Iterator[tuple[list[Record], np.ndarray]]:
        """Yield batches of the pool's images with these ids: records, and images `(n, bands, H, W)` as the network takes them."""
        wanted = self._images(lambda name, why: None, ids)
        while batch := list(islice(wanted, BATCH)):
            yield [record for record, _ in batch], np.stack([image for _, image in batch])

    def fetch(self, ids: Collection[str]) -> dict[str, tuple[Record, np.ndarray]]:
        """Return id -> record and image, in the order of the ids.

        Raises:
            InputError: an image is gone, or is not what it was when the campaign began.
        """
        wanted = set(ids)
        found = {record.id: (record, image) for record, image in self._images(lambda name, why: None, wanted)}
        for name in ids:
            if name not in found:
                raise InputError(f"{self.path} no longer has image {name!r}: put it back where the campaign found it")
            if content_hash(found[name][1]) != self.hashes[name]:
                raise InputError(f"image {name!r} of {self.path} has changed since the campaign began: restore it or begin anew")
        return {name: found[name] for name in ids}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all ids and contents, whatever their order."""
        lines = sorted(f"{name}\0{content}\n" for name, content in self.hashes.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write ids and content hashes."""
        temporary = path.with_name(path.name + ".tmp")
        pq.write_table(pa.table({"id": list(self.hashes), "content": list(self.hashes.values())}), temporary)
        temporary.replace(path)

    def loaded(self, path: Path) -> Pool:
        """Return the same with what `save` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            table = pq.read_table(path)
            hashes = dict(zip(table["id"].to_pylist(), table["content"].to_pylist(), strict=True))
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InputError(f"{path} cannot be read ({error}): restore it or begin the campaign anew") from error
        return Pool(self.path, self.shape, self.resize, self.hdu, hashes)

    def _images(self, on_skip: Skip, ids: Collection[str] | None = None) -> Iterator[tuple[Record, np.ndarray]]:
        for record in self._records(on_skip, ids):
            if ids is not None and record.id not in ids:
                continue
            try:
                image = resize_image(record.image, self.shape[1:]) if self.resize else record.image
                yield record, check(image, self.shape, record.source or record.id)
            except InputError as error:
                on_skip(record.id, str(error))

    def _records(self, on_skip: Skip, ids: Collection[str] | None) -> Iterator[Record]:
        """Read the pool; of a table only the rows that are wanted."""
        if ids is None or not (self.path / MANIFEST).is_file():
            return read(self.path, hdu=self.hdu, on_skip=lambda where, why: on_skip(str(where), why))
        table = Table.open(self.path)
        return table.records(np.flatnonzero([name in ids for name in table.ids]))
