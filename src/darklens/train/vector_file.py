"""Vectors of whatever lies at a path, in one Parquet file, which is there whole or not at all; and what is like an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklens.data import Noticed, Record, read
from darklens.errors import InputError
from darklens.files import sha256_of
from darklens.train.embedder import Embedder

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
WEIGHTS = b"darklens.weights"
"""Key of the file's metadata under which stands the checksum of the weights that made the vectors."""


@dataclass(frozen=True)
class Vectors:
    """What an embedder makes of n images.

    Args:
        ids: `(n,)` names.
        sources: `(n,)` where each was read from.
        labels: `(n,)` class names, None where unknown.
        vectors: `(n, d)` float32.
    """

    ids: list[str]
    sources: list[str]
    labels: list[str | None]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def embed_path(
    embedder: Embedder,
    path: Path,
    out: Path,
    *,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the vectors of every image at a path.

    Args:
        embedder: the network.
        path: an image, a folder, a table.
        out: `.parquet`; columns id, source, label (null where unknown) and vector, a list of float32 of fixed length.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands in the model's order, `g,r,i`.
        force: replace an existing file.

    Returns:
        `{"images", "dimension", "skipped": [(name, reason)], "noticed": [sentence], "out"}`.

    Raises:
        InputError: no image fits, or `out` exists or has another suffix.
    """
    if out.suffix != SUFFIX:
        raise InputError(f"--out {out} ends in {out.suffix or 'nothing'!r}: vectors are written as {SUFFIX}")
    if out.exists() and not force:
        raise InputError(f"{out} exists: choose another file or give --force")
    skipped: list[tuple[str, str]] = []
    noticed = Noticed()
    records = _records(embedder, path, resize, hdu, bands, skipped)
    batches = embedder.stream(noticed.watch(records), resize=resize, on_skip=lambda what, why: skipped.append((what, why)))
    count, dimension = _write(out, batches, path, embedder, skipped)
    return {"images": count, "dimension": dimension, "skipped": skipped, "noticed": noticed.lines(), "out": str(out)}


def vectors_at(
    embedder: Embedder,
    path: Path,
    noticed: Noticed,
    *,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
) -> tuple[Vectors, list[tuple[str, str]]]:
    """Return the vectors of every image at a path, and what was skipped and why; a file of `embed_path` is read instead.

    Args:
        embedder: the network.
        path: see `embed_path`.
        noticed: counts what the readers notice, pixels that they fill for example.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands in the model's order, `g,r,i`.

    Raises:
        InputError: no image fits, or the file holds vectors of other weights.
    """
    if path.suffix == SUFFIX and path.is_file() and (found := read_vectors(path, embedder)) is not None:
        return found, []
    skipped: list[tuple[str, str]] = []
    records = noticed.watch(_records(embedder, path, resize, hdu, bands, skipped))
    ids, sources, labels, parts = [], [], [], []
    for batch, vectors in embedder.stream(records, resize=resize, on_skip=lambda what, why: skipped.append((what, why))):
        ids += [record.id for record in batch]
        sources += [record.source or str(path) for record in batch]
        labels += [record.label for record in batch]
        parts.append(vectors)
    if not parts:
        raise InputError(_nothing(path, skipped))
    return Vectors(ids, sources, labels, np.concatenate(parts)), skipped


def read_vectors(path: Path, embedder: Embedder) -> Vectors | None:
    """Read what `embed_path` wrote; None for a Parquet file of something else.

    Raises:
        InputError: no Parquet file, or vectors that other weights made.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if WEIGHTS not in (schema.metadata or {}):
            return None
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]}): write it again with darklens embed") from error
    if schema.metadata[WEIGHTS].decode() != sha256_of(embedder.run.weights):
        raise InputError(f"{path} holds vectors of other weights than those of {embedder.run}: darklens embed with this run")
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    ids, sources, labels = (table[name].to_pylist() for name in ("id", "source", "label"))
    return Vectors(ids, sources, labels, flat.reshape(len(table), -1))


def _records(
    embedder: Embedder, path: Path, resize: bool, hdu: int | str | None, bands: str | None, skipped: list[tuple[str, str]]
) -> Iterator[Record]:
    size = embedder.shape[1:] if resize else None
    return read(path, hdu=hdu, bands=bands, size=size, on_skip=lambda what, why: skipped.append((str(what), why)))


def _nothing(path: Path, skipped: list[tuple[str, str]]) -> str:
    more = f" (and {len(skipped) - 1} more that could not be used)" if len(skipped) > 1 else ""
    return f"{skipped[0][1]}{more}" if skipped else f"{path} holds no image: give images, a folder of them or a table"


def _write(
    out: Path,
    batches: Iterator[tuple[list[Record], np.ndarray]],
    path: Path,
    embedder: Embedder,
    skipped: list[tuple[str, str]],
) -> tuple[int, int]:
    """Write batches into a file that appears when it is whole; returns rows and dimension."""
    import pyarrow.parquet as pq

    first = next(batches, None)
    if first is None:
        raise InputError(_nothing(path, skipped))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    block = _block(*first, path).replace_schema_metadata(
        {WEIGHTS: sha256_of(embedder.run.weights), b"darklens.run": str(embedder.run.path)}
    )
    count = len(block)
    try:
        with pq.ParquetWriter(temporary, block.schema) as writer:
            writer.write_table(block)
            for batch in batches:
                part = _block(*batch, path).cast(block.schema)
                writer.write_table(part)
                count += len(part)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return count, first[1].shape[1]


def _block(records: list[Record], vectors: np.ndarray, path: Path) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    return pa.table(
        {
            "id": pa.array([record.id for record in records], pa.string()),
            "source": pa.array([record.source or str(path) for record in records], pa.string()),
            "label": pa.array([record.label for record in records], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
