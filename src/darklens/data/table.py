"""The table: images of one shape with their labels and truths, in memory or on disk.

    TABLE/
      manifest.json         how it was made, what it holds, its shards with their checksums
      part-00000.parquet    1,024 rows, in row groups of at most 64 MiB
      ...

A table on disk is read one row group at a time; its images are never all in memory unless asked for. A table in
memory and a part of a table (`select`) answer the same calls.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from darklens.data.folders import class_order
from darklens.data.manifest import MANIFEST, read_manifest
from darklens.data.record import Record
from darklens.data.schema import RESERVED, SCHEMA_VERSION, column_schema, columns
from darklens.data.store import MemoryStore, ShardStore
from darklens.errors import InputError, unknown
from darklens.files import TEMPORARY, unwritable
from darklens.units import UNITS

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa
    import torch

Rows = np.ndarray | Sequence[int] | slice | None


class Table:
    """Images of one shape with their labels and truths.

    Make one with `Table.open`, `Table.from_records` or `Table.from_columns`.

    Args:
        store: where the rows lie.
        manifest: how the table was made and what it holds.
        rows: rows of the store that belong to it; None for all.
    """

    def __init__(self, store: MemoryStore | ShardStore, manifest: dict[str, Any], rows: np.ndarray | None = None) -> None:
        self._store = store
        self._rows = rows
        self.manifest = manifest

    # ---- making ----

    @classmethod
    def open(cls, path: str | Path, *, allow_incomplete: bool = False) -> Table:
        """Open a table on disk.

        Args:
            path: its folder.
            allow_incomplete: open a table whose writing has not finished.

        Raises:
            InputError: the folder is no table, is incomplete, or a shard is missing or damaged.
        """
        path = Path(path)
        if not os.path.isfile(path / MANIFEST):
            raise InputError(f"{path} is not a table (it has no {MANIFEST}): give a folder that darklens wrote, or import it")
        manifest = read_manifest(path)
        if not manifest["complete"] and not allow_incomplete:
            done = sum(shard["rows"] for shard in manifest["shards"])
            raise InputError(
                f"{path} is incomplete, {done} of {manifest['rows'] or 'an unknown number of'} rows: "
                "run the command that wrote it again to continue it"
            )
        return cls(ShardStore(path, manifest["shards"], manifest["shape"]), manifest)

    @classmethod
    def from_columns(
        cls,
        ids: Sequence[str],
        images: np.ndarray,
        labels: Sequence[str | None],
        truth: Mapping[str, np.ndarray] | None = None,
        splits: Sequence[str | None] | None = None,
        classes: Sequence[str] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> Table:
        """Make a table in memory from columns.

        Args:
            ids: n names.
            images: `(n, bands, y, x)`.
            labels: n class names, None where unknown.
            truth: name of a truth column -> n numbers.
            splits: n of `train`, `val`, `test`, None.
            classes: the classes in their order; those of the labels, in `class_order`, by default.
            manifest: what to say of its making; `units` gives the truth columns' units.

        Raises:
            InputError: lengths differ, the images have the wrong rank, or a label is not among the classes.
        """
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4 or len(images) != len(ids):
            raise InputError(f"images have shape {images.shape} for {len(ids)} ids: give (n, bands, y, x)")
        truth, manifest = dict(truth or {}), dict(manifest or {})
        classes = list(classes) if classes is not None else class_order(label for label in labels if label is not None)
        units = {name: UNITS.get(name, "") for name in truth} | manifest.get("units", {})
        schema = column_schema(list(truth), units)
        store = MemoryStore(images, columns(schema, classes, ids, labels, truth, splits))
        known = {"classes": classes, "shape": list(images.shape[1:]), "rows": len(ids), "complete": True}
        default: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "pixel_scale": None, "shards": []}
        return cls(store, default | manifest | known | {"units": units})

    @classmethod
    def from_records(cls, records: Iterable[Record], **manifest: Any) -> Table:
        """Make a table in memory from records of one shape.

        Raises:
            InputError: there is no record, or their shapes differ.
        """
        records = list(records)
        if not records:
            raise InputError("there is no image to make a table of: give at least one")
        shapes = {record.image.shape: record.id for record in records}
        if len(shapes) > 1:
            (a, first), (b, second) = list(shapes.items())[:2]
            raise InputError(f"images differ in shape, {first} is {a} and {second} is {b}: give one shape, or resize")
        names = list(dict.fromkeys(name for record in records for name in record.truth))
        return cls.from_columns(
            ids=[record.id for record in records],
            images=np.stack([record.image for record in records]),
            labels=[record.label for record in records],
            truth={name: np.array([record.truth.get(name, np.nan) for record in records]) for name in names},
            splits=[record.split for record in records],
            manifest=manifest,
        )

    # ---- what it is ----

    @property
    def path(self) -> Path | None:
        """Folder of the table; None in memory."""
        return self._store.path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: bands, y, x."""
        bands, y, x = self._store.shape
        return bands, y, x

    @property
    def classes(self) -> list[str]:
        """The classes, in their order."""
        return list(self.manifest["classes"])

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec a pixel; None where unknown."""
        return self.manifest.get("pixel_scale")

    @property
    def made_up(self) -> str | None:
        """One sentence if a network made the images up, which are then no evidence of anything; None if not."""
        if not self.manifest.get("synthetic"):
            return None
        return f"{self.path} holds images that a network made up ({self.manifest.get('source')}), neither observed nor simulated"

    @cached_property
    def checksum(self) -> str:
        """SHA-256 in hexadecimal, over the shards' (on disk), the content (in memory), and the rows of a part."""
        if self._rows is None:
            return self._store.checksum
        return hashlib.sha256(self._store.checksum.encode() + self._rows.tobytes()).hexdigest()

    def verify(self) -> str:
        """Recompute the checksums of the shards and return that of the table.

        Raises:
            InputError: a shard is not the one that was written.
        """
        self._store.verify()
        return self.checksum

    def __len__(self) -> int:
        return len(self._store) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        where = f" at {self.path}" if self.path else " in memory"
        partial = "" if self.manifest["complete"] else f" INCOMPLETE, {self.manifest['rows']} rows were asked for"
        return f"<Table of {len(self)} images {size}, classes {', '.join(self.classes) or 'unknown'},{where}{partial}>"

    # ---- columns ----

    @cached_property
    def _columns(self) -> pa.Table:
        return self._store.columns if self._rows is None else self._store.columns.take(self._rows)

    @property
    def columns(self) -> list[str]:
        """Names of all columns but the image."""
        return self._columns.column_names

    def column(self, name: str) -> np.ndarray:
        """Return a column: strings as objects (None where unknown), numbers as float64.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        values = self._columns[name]
        if name in ("id", "label", "split"):
            return values.cast("string").to_numpy().astype(object)
        return values.to_numpy()

    def units(self, name: str) -> str:
        """Return the unit of a column, an empty string if it has none.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        return ((self._columns.schema.field(name).metadata or {}).get(b"unit") or b"").decode()

    @property
    def ids(self) -> np.ndarray:
        """Names of the rows."""
        return self.column("id")

    @property
    def labels(self) -> np.ndarray:
        """Class names, None where unknown."""
        return self.column("label")

    @property
    def splits(self) -> np.ndarray:
        """`train`, `val`, `test` or None, a row each."""
        return self.column("split")

    # ---- parts ----

    def rows(self, split: str | None = None, *, label: str | None = None) -> np.ndarray:
        """Return the numbers of the rows of a split, a class, or both."""
        chosen = np.ones(len(self), dtype=bool)
        for name, value in (("split", split), ("label", label)):
            if value is not None:
                chosen &= self.column(name) == value
        return np.flatnonzero(chosen)

    def select(self, *, split: str | None = None, label: str | None = None, rows: Rows = None) -> Table:
        """Return a part of the table, by split, by class, by row numbers, or by several of them; nothing is copied.

        Raises:
            InputError: no row is left, or a row is out of range.
        """
        chosen = self.rows(split, label=label)
        if rows is not None:
            wanted = self._absolute(rows, local=True)
            chosen = wanted[np.isin(wanted, chosen)]
        if not len(chosen):
            splits = sorted({str(s) for s in self.splits})
            raise InputError(f"no row has split {split!r} and class {label!r}: the splits are {splits}, the classes {self.classes}")
        part = {"split": split, "label": label, "rows": None if rows is None else len(chosen)}
        selection = {k: v for k, v in part.items() if v is not None}
        manifest = self.manifest | {"rows": len(chosen), "selection": [*self.manifest.get("selection", []), selection]}
        return Table(self._store, manifest, self._absolute(chosen))

    def _absolute(self, rows: Rows, *, local: bool = False) -> np.ndarray:
        """Turn rows of this table into rows of its store (or, if `local`, only into an array), checking their range."""
        every = np.arange(len(self))
        if rows is None or isinstance(rows, slice):
            chosen = every if rows is None else every[rows]
        else:
            chosen = np.asarray(rows)
            chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
            if len(chosen) and not -len(self) <= chosen.min() <= chosen.max() < len(self):
                raise InputError(f"rows {chosen.min()} to {chosen.max()} are outside the table's 0 to {len(self) - 1}")
            chosen = every[chosen]
        return chosen if local or self._rows is None else self._rows[chosen]

    # ---- images ----

    def images(self, rows: Rows = None) -> np.ndarray:
        """Return images, float32 `(n, bands, y, x)`, in the order of `rows` (all by default)."""
        return self._store.images(self._absolute(rows))

    def batches(self, size: int, rows: Rows = None) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over batches: column name -> array, and `image`; of the images only one row group is held at a time.

        Raises:
            InputError: the size is not positive.
        """
        if size < 1:
            raise InputError(f"a batch of {size} images is impossible: give at least 1")
        chosen = self._absolute(rows, local=True)
        values = {name: self.column(name) for name in self.columns}
        for first in range(0, len(chosen), size):
            here = chosen[first : first + size]
            yield {name: column[here] for name, column in values.items()} | {"image": self.images(here)}

    def records(self, rows: Rows = None) -> Iterator[Record]:
        """Iterate over records, streamed."""
        truth = [name for name in self.columns if name not in RESERVED]
        bands = {"bands": list(names)} if (names := self.manifest.get("band_names")) else {}
        for batch in self.batches(64, rows):
            for i, image in enumerate(batch["image"]):
                yield Record(
                    id=batch["id"][i],
                    image=image.copy(),
                    label=batch["label"][i],
                    truth={name: float(batch[name][i]) for name in truth if np.isfinite(batch[name][i])},
                    source=str(self.path or ""),
                    split=batch["split"][i],
                    metadata={"dtype": "float32", "range": (float(image.min()), float(image.max()))} | bands,
                )

    def image_array(self, limit_bytes: int = 2 << 30, cache: str | Path | None = None) -> np.ndarray:
        """Return all images as one array that can be indexed at random.

        Args:
            limit_bytes: up to this size the images are read into memory; beyond it they are copied once into an
                uncompressed file that is mapped.
            cache: folder for that file, where a later call finds it again; by default it is a temporary file that
                vanishes with the array.

        Returns:
            float32 `(n, bands, y, x)`, an `np.memmap` beyond the limit.

        Raises:
            WorkError: the file cannot be written.
        """
        shape = (len(self), *self.shape)
        if 4 * int(np.prod(shape)) <= limit_bytes:
            return self.images()
        try:
            if cache is None:
                with tempfile.TemporaryFile() as file:
                    self._pour(file)
                    return np.memmap(file, np.float32, "r", shape=shape)
            path = Path(cache) / f"images-{self.checksum[:16]}.f32"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(path.name + TEMPORARY)
                with open(temporary, "wb") as file:
                    self._pour(file)
                os.replace(temporary, path)
            return np.memmap(path, np.float32, "r", shape=shape)
        except OSError as error:
            raise unwritable(Path(cache or tempfile.gettempdir()), error) from error

    def _pour(self, file: IO[bytes]) -> None:
        """Write all pixels to a file; written, unlike mapped, they do not count as memory of this process."""
        for first in range(0, len(self), 256):
            file.write(self.images(slice(first, first + 256)).data)
        file.flush()

    # ---- into other packages ----

    def to_torch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images, float32 `(n, bands, y, x)`, and class numbers, int64 `(n,)`, -1 where unknown."""
        import torch

        index = {name: i for i, name in enumerate(self.classes)}
        numbers = np.array([index.get(label, -1) for label in self.labels], dtype=np.int64)
        return torch.from_numpy(self.images()), torch.from_numpy(numbers)

    def to_pandas(self, *, images: bool = False) -> pandas.DataFrame:
        """Return all columns as a data frame; the images, one array a row, only if asked for."""
        frame = self._columns.to_pandas()
        if images:
            frame["image"] = list(self.images())
        return frame
