"""An input of any size, cut into numbered parts of which each can be read by itself, here or on another machine.

The cut depends on nothing but the input and the number of images a part, so that a second run cuts alike. A table is cut by rows,
anything else by files; both may lie in an object store, whose files are copied to this machine part by part.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklens.data.filesystem import Folder, is_url
from darklens.data.folders import File, stem
from darklens.data.formats import format_of
from darklens.data.manifest import MANIFEST, checked_manifest
from darklens.data.options import Options
from darklens.data.reading import files_of, read_files
from darklens.data.record import Record
from darklens.errors import InputError, unknown

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

AT_ONCE = 512
"""Images that are handed on together."""
POSITION = ("ra", "dec")
"""Columns that are carried along wherever an input has them."""
PARTS_AT_MOST = 20_000
IMAGES_A_PART = 4096


@dataclass
class Cutouts:
    """Some images of a part as they were read; whether they suit a model is not looked at.

    Args:
        ids: n names.
        sources: n paths or URLs of the files they came from.
        images: n arrays `(bands, y, x)`, or one array of them.
        bands: n lists of the names of their bands, None where unknown.
        columns: carried along, n values each, None where an image has none.
        unreadable: (id, source, reason) of images that could not be read.
    """

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    images: np.ndarray | list[np.ndarray] = field(default_factory=list)
    bands: list[list[str] | None] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    unreadable: list[tuple[str, str, str]] = field(default_factory=list)


class PartedInput(ABC):
    """An input that is cut into parts; it can be sent to other machines.

    Attributes:
        url: where it is.
        size: number of rows, or of files.
        size_of_part: rows or files of every part but the last.
        keep: columns that are carried along.
        fingerprint: SHA-256 that changes with the input.
        shape: of all images, where they have one; None for files.
        bands: names of the bands of a table, where it knows them.
        passed_over: (name, reason) of files that are no images.
    """

    unit = "images"
    url: str
    size: int
    size_of_part: int
    keep: tuple[str, ...]
    fingerprint: str
    shape: tuple[int, ...] | None = None
    bands: Sequence[str] = ()
    passed_over: Sequence[tuple[str, str]] = ()

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.size // self.size_of_part)

    def span(self, part: int) -> tuple[int, int]:
        """Return the first row or file of a part, and the first after it."""
        return part * self.size_of_part, min((part + 1) * self.size_of_part, self.size)

    @abstractmethod
    def read(self, part: int) -> Iterator[Cutouts]:
        """Read a part, some images at a time, in order; what cannot be read is named, never left out."""

    def about(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {"path": self.url, self.unit: self.size, "fingerprint": self.fingerprint}


def open_parts(
    path: str | Path, *, size_of_part: int | None = None, keep: Sequence[str] = (), options: Options | None = None
) -> PartedInput:
    """Cut an input into parts.

    Args:
        path: a table, an image, or a folder of images, on this machine or as a URL.
        size_of_part: rows or files of a part; by default 4,096, and more where there would be too many parts for a folder.
        keep: columns of a table, or what truth and header of a file say, to carry along; `ra` and `dec` always are where known.
        options: how files are read.

    Raises:
        InputError: there is nothing to read, a table is incomplete, or a table has no such column.
    """
    if size_of_part is not None and size_of_part < 1:
        raise InputError(f"{size_of_part} images a part are too few: give at least 1")
    options = options or Options()
    if is_url(path):
        folder = Folder(str(path))
        names = folder.names()
        if not names:
            raise InputError(f"{path} is empty or not there: give a table or a folder of .npy, .npz or FITS files")
        return (
            TableParts(folder, size_of_part, keep, options.bands)
            if MANIFEST in names
            else StoreFileParts(folder, size_of_part, keep, options)
        )
    if os.path.isfile(Path(path) / MANIFEST):
        return TableParts(Folder(str(path)), size_of_part, keep, options.bands)
    return FileParts(Path(path), size_of_part, keep, options)


def part_size(images: int) -> int:
    """Return the images of a part of an input of so many: a part is lost at most when a worker dies, and a folder is no list."""
    return max(IMAGES_A_PART, 1 << max(0, -(-images // PARTS_AT_MOST) - 1).bit_length())


def check_kept(images: PartedInput, names: Sequence[str]) -> None:
    """Raise an error if a wanted column is nowhere in the first images: a misspelt one would be carried along as nothing.

    Raises:
        InputError: neither headers nor a catalogue say anything of it.
    """
    wanted = [name for name in names if name not in POSITION]
    if not wanted or images.unit == "rows":  # a table has refused already
        return
    first = next(iter(images.read(0)))
    for name in wanted:
        if all(value is None for value in first.columns[name]):
            looked = f"the first {len(first.ids):,} images" if len(first.ids) > 1 else "the first image"
            raise InputError(f"{looked} of {images.url} say nothing of '{name}', in headers or catalogue: leave it out of --keep")


class TableParts(PartedInput):
    """A table, cut by rows.

    Args:
        folder: where it lies.
        size_of_part: rows of a part; None chooses.
        keep: columns to carry along.
        bands: the bands that are wanted, in order, by name or, where the table names none, by number; None takes all.

    Raises:
        InputError: it is incomplete, or has no such column or band.
    """

    unit = "rows"

    def __init__(self, folder: Folder, size_of_part: int | None, keep: Sequence[str], bands: Sequence[str] | None = None) -> None:
        self.folder, self.url = folder, folder.url
        manifest = checked_manifest(folder.read_json(MANIFEST), self.url.rstrip("/"))
        if not manifest["complete"]:
            raise InputError(f"{self.url} is an incomplete table: run the command that wrote it again to continue it")
        self.shards = [(shard["file"], int(shard["rows"])) for shard in manifest["shards"]]
        self.stored = tuple(manifest["shape"])
        names = list(manifest.get("band_names") or map(str, range(self.stored[0])))
        for band in bands or ():
            if band not in names:
                raise unknown(f"band of {self.url}", band, names)
        self.bands = list(bands or manifest.get("band_names") or ())
        self.chosen = None if bands is None else [names.index(band) for band in bands]
        self.shape = (len(self.chosen or names), *self.stored[1:])
        self.starts = np.concatenate([[0], np.cumsum([rows for _, rows in self.shards], dtype=np.int64)])
        self.size = int(self.starts[-1])
        if not self.size:
            raise InputError(f"{self.url} is a table without a row: there is nothing to score")
        self.size_of_part = size_of_part or part_size(self.size)
        sums = [f"{shard['file']} {shard['rows']} {shard['sha256']}" for shard in manifest["shards"]]
        self.fingerprint = hashlib.sha256("\n".join(sums).encode()).hexdigest()
        with folder.open_parquet(self.shards[0][0]) as first:
            known = [name for name in first.schema_arrow.names if name not in ("id", "image")]
        for name in keep:
            if name not in known:
                raise unknown(f"column of {self.url}", name, known)
        self.keep = tuple(dict.fromkeys([*(name for name in POSITION if name in known), *keep]))

    def read(self, part: int) -> Iterator[Cutouts]:
        """Read a part, a row group at a time; the rows of a damaged shard are named by their place in it."""
        first, end = self.span(part)
        shard = int(np.searchsorted(self.starts, first, side="right")) - 1
        while shard < len(self.shards) and self.starts[shard] < end:
            start = int(self.starts[shard])
            yield from self._read_shard(shard, max(0, first - start), min(end - start, self.shards[shard][1]))
            shard += 1

    def _read_shard(self, shard: int, first: int, end: int) -> Iterator[Cutouts]:
        import pyarrow as pa

        file, rows = self.shards[shard]
        done = first
        try:
            with self.folder.open_parquet(file) as parquet:
                if parquet.metadata.num_rows != rows:
                    raise InputError(f"holds {parquet.metadata.num_rows} rows where the manifest says {rows}")
                for table in _row_groups(parquet, first, end, ["id", "image", *self.keep]):
                    yield self._cutouts(table)
                    done += len(table)
        except (OSError, pa.ArrowException, InputError) as error:
            source = f"{self.url.rstrip('/')}/{file}"
            reason = str(error).splitlines()[0].removeprefix(f"{source} ")
            yield Cutouts(unreadable=[(f"{file}[{row}]", source, reason) for row in range(done, end)])

    def _cutouts(self, table: pa.Table) -> Cutouts:
        storage = table["image"].combine_chunks().storage
        pixels = storage.flatten().to_numpy(zero_copy_only=False)  # flatten() heeds the slice
        images = pixels.reshape(-1, *self.stored)  # Arrow's memory is not ours to hand to torch, which may write
        images = images.copy() if self.chosen is None else images[:, self.chosen]
        kept = {name: table[name].to_pylist() for name in self.keep}
        bands = [list(self.bands) or None] * len(table)
        return Cutouts(table["id"].to_pylist(), [self.url] * len(table), images, bands, kept)


def _row_groups(parquet: pq.ParquetFile, first: int, end: int, columns: list[str]) -> Iterator[pa.Table]:
    """Read the rows from `first` up to `end`, one row group at a time."""
    start = 0
    for group in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        low, high = max(first - start, 0), min(end - start, rows)
        if low < high:
            yield parquet.read_row_group(group, columns=columns).slice(low, high - low)
        start += rows


class FileParts(PartedInput):
    """Image files on this machine, or on a disk that all machines share, cut by their number; a file may hold several images.

    Args:
        path: a file, or a folder of files.
        size_of_part: files of a part; None chooses.
        keep: what to carry along of truths and headers.
        options: how they are read.

    Raises:
        InputError: there is no image.
    """

    unit = "files"

    def __init__(self, path: str | Path, size_of_part: int | None, keep: Sequence[str], options: Options) -> None:
        self.url, self.keep, self.options = str(path), tuple(dict.fromkeys([*POSITION, *keep])), options
        self.passed_over: list[tuple[str, str]] = []
        files = self._files(path)
        if not files:
            more = f"passed over {len(self.passed_over)} files" if self.passed_over else "it is empty"
            raise InputError(f"{path} holds no image that can be read ({more}): give .npy, .npz or FITS files")
        self._list(files, (self._stamp(file) for file in files), size_of_part)

    def _list(self, files: Sequence[File], stamps: Iterator[str], size_of_part: int | None) -> None:
        """Keep the list in Arrow's memory, which holds a path in its own length."""
        import pyarrow as pa

        self.size = len(files)
        self.size_of_part = size_of_part or part_size(self.size)
        self.listing = pa.array([_packed(file) for file in files], pa.large_string())
        digest = hashlib.sha256()
        for file, stamp in zip(files, stamps, strict=True):
            digest.update(f"{file.id}\0{stamp}\n".encode())
        self.fingerprint = digest.hexdigest()

    def _files(self, path: str | Path) -> list[File]:
        def passed(file: Path, why: str) -> None:
            self.passed_over.append((str(file), why))

        return list(files_of(Path(path), self.options, passed))

    def _stamp(self, file: File) -> str:
        """Return what changes with the content of a file; one that is missing is found so when it is read."""
        found = [os.stat(path) for path in file.paths or (file.path,) if os.path.exists(path)]
        return " ".join(f"{one.st_size} {one.st_mtime_ns}" for one in found)

    def _listed(self, part: int) -> list[File]:
        first, end = self.span(part)
        return [_unpacked(text) for text in self.listing.slice(first, end - first).to_pylist()]

    def read(self, part: int) -> Iterator[Cutouts]:
        """Read a part, file by file."""
        yield from self._read(self._listed(part))

    def _read(self, files: list[File], source: Any = str) -> Iterator[Cutouts]:
        """Read files and gather their images; `source` turns a path into what to say of it."""
        names = {name: file.id for file in files for name in (str(file.path), file.source)}
        images: list[np.ndarray] = []
        found = Cutouts(columns={name: [] for name in self.keep}, images=images)

        def skip(path: Path, why: str) -> None:
            found.unreadable.append((names.get(str(path), stem(path)), source(str(path)), why))

        for record in read_files(files, self.options, skip):
            found.ids.append(record.id)
            found.sources.append(source(record.source))
            images.append(record.image)
            found.bands.append(record.metadata.get("bands"))
            for name, values in found.columns.items():
                values.append(_known(record, name))
            if len(found.ids) == AT_ONCE:
                yield found
                images = []
                found = Cutouts(columns={name: [] for name in self.keep}, images=images)
        yield found


def _packed(file: File) -> str:
    """Return a file in few bytes."""
    paths, truth = [str(path) for path in file.paths], dict(file.truth)
    return json.dumps([str(file.path), file.id, paths, list(file.bands), truth, file.mask])


def _unpacked(text: str) -> File:
    path, name, paths, bands, truth, mask = json.loads(text)
    return File(Path(path), name, paths=tuple(map(Path, paths)), bands=tuple(bands), truth=truth, mask=mask)


def _known(record: Record, name: str) -> float | str | None:
    """Return what a record knows under a name: truths and positions are numbers, the rest of a header is text."""
    value = record.truth.get(name, record.metadata.get(name))
    if value is None or name in record.truth:
        return value
    if name not in POSITION:
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


class StoreFileParts(FileParts):
    """Image files in an object store; a part is copied to this machine while it is read. Arguments as of `FileParts`."""

    def __init__(self, folder: Folder, size_of_part: int | None, keep: Sequence[str], options: Options) -> None:
        self.folder = folder
        self.stamps: dict[str, str] = {}
        super().__init__(folder.url, size_of_part, keep, options)
        del self.stamps

    def _files(self, path: str | Path) -> list[File]:
        for name, stamp in self.folder.files_below():
            try:
                format_of(Path(name))
                self.stamps[name] = stamp
            except InputError as error:
                self.passed_over.append((name, str(error).removeprefix(f"{name} ")))
        paths = [Path(name) for name in self.stamps]
        stems = Counter(path.with_name(stem(path)) for path in paths)
        ids = (path.with_name(stem(path)) for path in paths)
        return [File(path, str(name if stems[name] == 1 else path)) for path, name in zip(paths, ids, strict=True)]

    def _stamp(self, file: File) -> str:
        return self.stamps[str(file.path)]

    def read(self, part: int) -> Iterator[Cutouts]:
        """Copy a part to this machine and read it."""
        with tempfile.TemporaryDirectory(prefix="darklens-") as work:
            files = []
            for file in self._listed(part):
                self.folder.copy_out(str(file.path), Path(work) / file.path)
                files.append(replace(file, path=Path(work) / file.path))
            yield from self._read(files, lambda path: f"{self.url.rstrip('/')}/{Path(path).relative_to(work)}")
