"""Where the rows of a table lie: in memory, or in Parquet shards of which one row group at a time is read.

Both give the same two things: `columns`, everything but the images, and `images(rows)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from darklens.data.schema import column_schema
from darklens.errors import InputError
from darklens.files import sha256_of, unreadable


class MemoryStore:
    """Rows in memory.

    Args:
        images: float32 `(n, bands, y, x)`.
        columns: all other columns.
    """

    path = None

    def __init__(self, images: np.ndarray, columns: pa.Table) -> None:
        self._images = images
        self.columns = columns

    def __len__(self) -> int:
        return len(self._images)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image: bands, y, x."""
        return self._images.shape[1:]

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return a copy of some images, in the order of `rows`."""
        return self._images[rows]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over the pixels, ids and labels, in hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self._images).data)
        for name in ("id", "label"):
            digest.update("\0".join(map(str, self.columns[name].to_pylist())).encode())
        return digest.hexdigest()

    def verify(self) -> str:
        """Return the checksum: memory has nothing to compare it with."""
        return self.checksum


class ShardStore:
    """Rows in Parquet shards.

    Args:
        path: folder of the table.
        shards: the manifest's list of `{file, rows, sha256}`.
        shape: shape of one image: bands, y, x.

    Raises:
        InputError: a shard is missing, truncated, or has other rows or other images than the manifest says.
    """

    def __init__(self, path: Path, shards: Sequence[dict], shape: Sequence[int]) -> None:
        self.path = path
        self.shape = tuple(shape)
        self._shards = list(shards)
        self._files = [path / shard["file"] for shard in shards]
        self._footers = [self._footer(file, shard["rows"]) for file, shard in zip(self._files, shards, strict=True)]
        groups = [(s, g) for s, footer in enumerate(self._footers) for g in range(footer.num_row_groups)]
        self._groups = groups
        sizes = [self._footers[s].row_group(g).num_rows for s, g in groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        self._last: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _footer(self, file: Path, rows: int) -> pq.FileMetaData:
        try:
            footer = pq.read_metadata(file)
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno:
                raise unreadable(file, error) from error
            raise _damaged(file) from error
        if footer.num_rows != rows:
            raise InputError(f"{file} holds {footer.num_rows} rows where the manifest says {rows}: make the table again")
        return footer

    def _open(self, shard: int) -> pq.ParquetFile:
        return pq.ParquetFile(self._files[shard], metadata=self._footers[shard])

    @cached_property
    def columns(self) -> pa.Table:
        """All columns but the image, of all rows."""
        if not self._files:
            return column_schema([], {}).empty_table()
        names = [n for n in self._open(0).schema_arrow.names if n != "image"]
        return pa.concat_tables([self._read(s, lambda file: file.read(columns=names)) for s in range(len(self._files))])

    def _read(self, shard: int, how: Callable[[pq.ParquetFile], pa.Table]) -> pa.Table:
        try:
            with self._open(shard) as file:
                return how(file)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self._files[shard]) from error

    def _group(self, index: int) -> np.ndarray:
        """Return the images of one row group; the last one is kept, so that rows in order read each group once."""
        last = self._last
        if last is not None and last[0] == index:
            return last[1]
        self._last = last = None  # let go of the old group before the new one is read
        shard, group = self._groups[index]
        column = self._read(shard, lambda file: file.read_row_group(group, columns=["image"]))["image"]
        parts = [chunk.storage.flatten().to_numpy() for chunk in column.chunks]
        pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if pixels.size != len(column) * int(np.prod(self.shape)):
            raise InputError(f"{self._files[shard]} holds images of another size than {self.shape}: make the table again")
        images = pixels.reshape(-1, *self.shape)
        self._last = (index, images)
        return images

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return some images, in the order of `rows`; each row group is read once."""
        out = np.empty((len(rows), *self.shape), np.float32)
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for group in np.unique(groups):
            here = groups == group
            out[here] = self._group(group)[rows[here] - self._starts[group]]
        return out

    @property
    def checksum(self) -> str:
        """SHA-256 over the shards' SHA-256s, in hexadecimal."""
        return hashlib.sha256("".join(shard["sha256"] for shard in self._shards).encode()).hexdigest()

    def verify(self) -> str:
        """Read every shard, compare with the manifest, and return the checksum of the table.

        Raises:
            InputError: a shard is not the one that was written.
        """
        for file, shard in zip(self._files, self._shards, strict=True):
            if sha256_of(file) != shard["sha256"]:
                raise _damaged(file)
        return self.checksum


def _damaged(file: Path) -> InputError:
    return InputError(f"{file} is truncated or damaged: make the table again, or copy it anew")
