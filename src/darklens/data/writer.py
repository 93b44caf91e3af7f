"""Write a table so that a crash loses at most the shard in flight and a re-run continues.

A shard is written under a temporary name, row group by row group, synced, renamed, and only then entered in the
manifest, which is itself replaced whole. Every shard but the last has exactly `rows_per_shard` rows, so that a
simulation, whose rows are a pure function of (seed, row), continues at a shard boundary and neither loses nor doubles
a row.

Images are stored byte-stream-split (all first bytes, then all second bytes, ...) under zstd level 1: sign and
exponent bytes repeat, so the files shrink to a quarter (counts) or six sevenths (noise) at no cost in speed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from darklens.data.manifest import MANIFEST, read_manifest
from darklens.data.record import Record
from darklens.data.schema import SCHEMA_VERSION, column_schema, columns, image_column, image_type
from darklens.errors import InputError, WorkError
from darklens.files import TEMPORARY, lock, settle, sha256_of, unlock, unwritable, write_json

GROUP_BYTES = 64 << 20
GROUP_ROWS = 512
ENCODING = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["label", "split"],
    "use_byte_stream_split": ["image.list.element"],
    "write_statistics": False,
}


class TableWriter:
    """Writes a table; use it in a `with` statement, at whose end the table is complete.

    Args:
        path: folder of the table. A folder that holds part of this very table is continued.
        shape: shape of one image: bands, y, x.
        classes: the classes, in their order.
        manifest: how the table is made (`preset`, `seed`, ...); `rows`, if given, is the number that must be written;
            `units` gives the truth columns and their units.
        rows_per_shard: rows of every shard but the last.
        resume: continue what is there; if false, an existing table is refused.
        force: start anew over an existing table, or beside whatever else the folder holds.

    Raises:
        InputError: the folder holds something else, or a table made otherwise.
        WorkError: the folder cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        shape: Sequence[int],
        classes: Sequence[str],
        manifest: Mapping[str, Any],
        rows_per_shard: int = 1024,
        resume: bool = True,
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(int(n) for n in shape)
        self.classes = list(classes)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"images of shape {self.shape} cannot be stored: give (bands, y, x), each at least 1")
        if rows_per_shard < 1:
            raise InputError(f"{rows_per_shard} rows a shard are too few: give at least 1")
        self._manifest = self._settings(manifest, rows_per_shard)
        self._truth = list(self._manifest["units"]) or None
        self._rows_per_shard = rows_per_shard
        self._group_rows = max(1, min(rows_per_shard, GROUP_ROWS, GROUP_BYTES // (4 * int(np.prod(self.shape)))))
        self._shard: pq.ParquetWriter | None = None
        self._rows_in_shard = 0
        self._pending: list[pa.Table] = []
        self._waiting = 0
        self._lock: int | None = None
        try:
            self._prepare(resume, force)
        except OSError as error:
            self._release()
            raise unwritable(self.path, error) from error
        except InputError:
            self._release()
            raise

    def _settings(self, manifest: Mapping[str, Any], rows_per_shard: int) -> dict[str, Any]:
        default: dict[str, Any] = {
            "preset": None,
            "instrument": None,
            "seed": None,
            "cosmology": None,
            "pixel_scale": None,
            "flux_unit": None,
            "units": {},
            "rows": None,
        }
        own = {
            "schema_version": SCHEMA_VERSION,
            "classes": self.classes,
            "shape": list(self.shape),
            "rows_per_shard": rows_per_shard,
        }
        state = {"created_by": _created_by(), "complete": False, "shards": []}
        return json.loads(json.dumps(default | dict(manifest) | own | state, default=_plain))

    def _prepare(self, resume: bool, force: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: choose a folder for the table")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.path)
        old = read_manifest(self.path) if (self.path / MANIFEST).is_file() and not force else None
        if old is not None and (old["shards"] or old["complete"]):
            if not resume:
                raise InputError(f"{self.path} already holds a table: choose another folder or give --force")
            self._continue(old)
        elif not force and old is None and any(p for p in self.path.iterdir() if p.suffix != TEMPORARY or not is_ours(p.name)):
            raise InputError(f"{self.path} holds something that is not a table: choose another folder or give --force")
        else:
            (self.path / MANIFEST).unlink(missing_ok=True)
            write_json(self.path / MANIFEST, self._manifest)
        safe = {MANIFEST, *(shard["file"] for shard in self._manifest["shards"])}
        for stray in self.path.iterdir():
            if is_ours(stray.name) and stray.name not in safe:
                stray.unlink()

    def _continue(self, old: dict[str, Any]) -> None:
        same_table(old, self._manifest, self.path)
        self._manifest = old
        self._truth = old.get("columns", self._truth)

    # ---- writing ----

    @property
    def rows_done(self) -> int:
        """Number of rows that are safe on disk; the next row to write is this one."""
        return sum(shard["rows"] for shard in self._manifest["shards"])

    @property
    def complete(self) -> bool:
        """Whether the table is finished."""
        return self._manifest["complete"]

    def write(self, records: Iterable[Record]) -> None:
        """Write records, a row group at a time.

        Raises:
            InputError: a record does not fit the table.
            WorkError: the disk is full; what is already safe is kept.
        """
        chunk: list[Record] = []
        for record in records:
            chunk.append(record)
            if len(chunk) >= self._group_rows:
                self._write_records(chunk)
                chunk = []
        if chunk:
            self._write_records(chunk)

    def _write_records(self, records: list[Record]) -> None:
        for record in records:
            if record.image.shape != self.shape:
                raise InputError(f"{record.id} has shape {record.image.shape}, the table {self.shape}: resize or leave it out")
        names = self._truth if self._truth is not None else dict.fromkeys(n for r in records for n in r.truth)
        extra = sorted({name for record in records for name in record.truth} - set(names))
        self.write_columns(
            ids=[r.id for r in records],
            images=np.stack([r.image for r in records]),
            labels=[r.label for r in records],
            truth={name: np.array([r.truth.get(name, np.nan) for r in records]) for name in (*names, *extra)},
            splits=[r.split for r in records],
        )

    def write_columns(
        self,
        ids: Sequence[str],
        images: np.ndarray,
        labels: Sequence[str | None],
        truth: Mapping[str, np.ndarray],
        splits: Sequence[str | None] | None = None,
    ) -> None:
        """Write rows given as columns.

        Args:
            ids: n names.
            images: `(n, bands, y, x)`.
            labels: n class names, None where unknown.
            truth: name of a truth column -> n numbers; the first rows name all of them unless the manifest's units do.
            splits: n of `train`, `val`, `test`, None.

        Raises:
            InputError: shapes or lengths do not fit, or a pixel is not finite.
            WorkError: the disk is full; what is already safe is kept.
        """
        images = np.array(images, dtype=np.float32, order="C")  # a copy: the caller may reuse its buffer before it is written
        if images.shape != (len(ids), *self.shape):
            raise InputError(f"images have shape {images.shape} where {(len(ids), *self.shape)} is due: check the batch")
        self._check(ids, images)
        self._truth = list(truth) if self._truth is None else self._truth
        schema = column_schema(self._truth, self._manifest["units"])
        rows = columns(schema, self.classes, ids, labels, truth, splits)
        rows = rows.add_column(1, pa.field("image", image_type(self.shape)), image_column(images))
        try:
            self._queue(rows)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _check(self, ids: Sequence[str], images: np.ndarray) -> None:
        rows, asked = self.rows_done + self._rows_in_shard + self._waiting + len(ids), self._manifest["rows"]
        if self.complete or (asked is not None and rows > asked):
            raise InputError(f"{self.path} is a table of {asked} rows, {rows} were given: ask for more when you make it")
        if not np.isfinite(images).all():
            bad = int(np.argmin(np.isfinite(images).all(axis=(1, 2, 3))))
            count = int(np.count_nonzero(~np.isfinite(images[bad])))
            raise InputError(f"image {ids[bad]} has {count} pixels that are not finite: mend it or leave it out")

    def _queue(self, rows: pa.Table) -> None:
        self._pending.append(rows)
        self._waiting += len(rows)
        while self._waiting >= (due := min(self._group_rows, self._rows_per_shard - self._rows_in_shard)):
            self._write_group(due)

    def _write_group(self, rows: int) -> None:
        waiting = pa.concat_tables(self._pending)
        if self._shard is None:
            self._shard = pq.ParquetWriter(self._temporary, waiting.schema, **ENCODING)
        self._shard.write_table(waiting.slice(0, rows), row_group_size=rows)
        self._pending = [waiting.slice(rows)] if len(waiting) > rows else []
        self._waiting -= rows
        self._rows_in_shard += rows
        if self._rows_in_shard == self._rows_per_shard:
            self._finish_shard()

    @property
    def _temporary(self) -> Path:
        return self.path / f"{self._shard_name}{TEMPORARY}"

    @property
    def _shard_name(self) -> str:
        return f"part-{len(self._manifest['shards']):05d}.parquet"

    def _finish_shard(self) -> None:
        assert self._shard is not None  # rows were written to it
        self._shard.close()
        self._shard = None
        checksum = sha256_of(self._temporary)
        settle(self._temporary, self.path / self._shard_name)
        shard = {"file": self._shard_name, "rows": self._rows_in_shard, "sha256": checksum}
        self._rows_in_shard = 0
        self._manifest |= {"columns": self._truth, "shards": [*self._manifest["shards"], shard]}
        write_json(self.path / MANIFEST, self._manifest)

    # ---- ending ----

    def close(self) -> None:
        """Write what is waiting and declare the table complete.

        Raises:
            WorkError: the disk is full, or fewer rows were written than the manifest asks for.
        """
        if self.complete:
            return self._release()
        rows, asked = self.rows_done + self._rows_in_shard + self._waiting, self._manifest["rows"]
        if asked is not None and rows != asked:
            self.abandon()
            raise WorkError(f"{self.path} got {rows} of {asked} rows and stays incomplete: run it again to continue")
        try:
            if self._waiting:
                self._write_group(self._waiting)
            if self._rows_in_shard:
                self._finish_shard()
            self._manifest |= {"rows": rows, "complete": True}
            write_json(self.path / MANIFEST, self._manifest)
        except OSError as error:
            self.abandon()
            raise unwritable(self.path, error) from error
        self._release()

    def abandon(self) -> None:
        """Drop the shard in flight; the finished ones stay, and the table stays incomplete."""
        self._pending, self._waiting, self._rows_in_shard = [], 0, 0
        if self._shard is not None:
            shard, self._shard = self._shard, None
            with suppress(OSError):  # the disk that was full is still full, and this file goes away anyhow
                shard.close()
        self._temporary.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        unlock(self._lock)
        self._lock = None

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def same_table(old: Mapping[str, Any], new: Mapping[str, Any], path: str | Path) -> None:
    """Make sure that a table that is there is the one that is to be written.

    Raises:
        InputError: it was made otherwise.
    """
    state = ("complete", "shards", "created_by", "columns")
    for key in [k for k in (*new, *old) if k not in state]:
        there, here = old.get(key), new.get(key)
        if key == "rows" and here is None and old["complete"]:
            continue  # the number was not known before and was entered at the end
        if key == "band_names" and there is None:
            continue  # tables of simulations did not always say them
        if there != here:
            key, there, here = _where(key, there, here)
            raise InputError(
                f"{path} holds a table with another {key} ({_short(there)} there, {_short(here)} here): "
                "choose another folder or give --force"
            )


def _where(key: str, there: object, here: object) -> tuple[str, object, object]:
    """Return what differs: of two sections the first entry that does, by its name."""
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return key, there, here
    name = next(name for name in (*here, *there) if there.get(name) != here.get(name))
    return _where(f"{key}.{name}", there.get(name), here.get(name))


def _created_by() -> str:
    try:
        return f"darklens {version('darklens')}"
    except PackageNotFoundError:
        return "darklens"


def is_ours(name: str) -> bool:
    """Say whether a name in a table's folder is one that darklens gives: shard, receipt of a cluster, manifest, temporary."""
    return re.fullmatch(r"(part-\d{5,}\.parquet(\.done)?|manifest\.json)((\.[0-9a-f]{8})?\.tmp)?", name) is not None


def _plain(value: object) -> object:
    """Turn numpy's numbers and arrays, and paths, into what JSON knows."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
