"""Read images from whatever holds them: one file, a tree of files, or a table.

Files are decoded in threads, a bounded number ahead of the one that is wanted, and come out in sorted order: memory
does not grow with their number, and the order does not depend on the machine.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from darklens.data.folders import File, Skip, files_below, low_resolution, stem
from darklens.data.formats import format_of
from darklens.data.options import Options
from darklens.data.record import Record
from darklens.data.table import MANIFEST, Table
from darklens.errors import InputError
from darklens.files import unreadable

T, R = TypeVar("T"), TypeVar("R")
MEMORY_BYTES_AT_MOST = 8 << 30


def read(
    path: str | Path,
    *,
    hdu: int | str | Sequence[int | str] | None = None,
    key: str | None = None,
    layout: str | None = None,
    fill: float | None = None,
    label: str | None = None,
    on_skip: Skip | None = None,
    workers: int | None = None,
) -> Iterator[Record]:
    """Read images, streamed and in sorted order.

    Args:
        path: a `.npy`, `.npz` or FITS file, a folder of them in any of the field's layouts, or a table.
        hdu: extension of FITS files, see `Options`.
        key: array of `.npz` files.
        layout: what the leading axis of 3-D arrays is.
        fill: value for pixels that are not finite.
        label: class of all images, whatever their folders are called.
        on_skip: called with path and reason of every file below a folder that is left out. Without it a damaged file
            raises, and files that are no images are passed over.
        workers: number of threads.

    Returns:
        An iterator over records.

    Raises:
        InputError: there is nothing to read, or (without `on_skip`, or if `path` is a file) something cannot be read.
    """
    path, options = Path(path), Options(hdu, key, layout, fill)
    try:
        os.lstat(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if os.path.isfile(path / MANIFEST):
        records = Table.open(path).records()
    elif os.path.isdir(path):
        records = _read_tree(path, options, on_skip, workers)
    else:
        records = _read_file(sole_file(path), options)
    return records if label is None else (record.with_(label=label) for record in records)


def pairs(path: str | Path, *, on_skip: Skip | None = None) -> Iterator[tuple[Record, Record]]:
    """Read super-resolution pairs: files of the same name in the folders `LR` and `HR`.

    Args:
        path: the folder above both.
        on_skip: called with path and reason of what is left out.

    Yields:
        The low- and the high-resolution record.

    Raises:
        InputError: there is no pair.
    """
    skip = on_skip or (lambda path, reason: None)
    found = 0
    for high in read(path, on_skip=on_skip):
        low = low_resolution(Path(high.source))
        if low is None:
            skip(Path(high.source), "has no partner of that name in LR")
            continue
        found += 1
        yield next(_read_file(File(low, high.id, split=high.split), Options())), high
    if not found:
        raise InputError(f"{path} holds no pairs: give a folder with HR/ and LR/ that hold files of the same names")


def load(path: str | Path, **options: Any) -> Table:
    """Open a table, or read anything else into a table in memory.

    Args:
        path: see `read`.
        options: those of `read`.

    Raises:
        InputError: what is there cannot be read, differs in shape, or does not fit into memory.
    """
    if os.path.isfile(Path(path) / MANIFEST):
        return Table.open(path)
    records = list(_within_memory(read(path, **options), path))
    scales = {record.metadata.get("pixel_scale") for record in records}
    return Table.from_records(records, source=str(path), pixel_scale=scales.pop() if len(scales) == 1 else None)


def _within_memory(records: Iterable[Record], path: str | Path) -> Iterator[Record]:
    total = 0
    for record in records:
        total += record.image.nbytes
        if total > MEMORY_BYTES_AT_MOST:
            raise InputError(f"{path} holds over {MEMORY_BYTES_AT_MOST >> 30} GiB of images: import it into a table")
        yield record


def sole_file(path: Path) -> File:
    """Return a single file as something to read.

    Raises:
        InputError: it is no regular file.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise unreadable(path, error) from error
    if not regular:
        raise InputError(f"{path} is not a regular file: give a file or a folder")
    return File(path, stem(path))


def image_files(path: Path, on_skip: Skip) -> Iterator[File]:
    """Iterate over the files below a folder whose suffix is that of an image, in sorted order."""

    def wanted(file: Path) -> bool:
        try:
            format_of(file)
        except InputError as error:
            on_skip(file, reason(file, error))
            return False
        return True

    return files_below(path, wanted, on_skip)


def reason(path: Path, error: InputError | OSError) -> str:
    """Return an error's text without the path, to stand beside it."""
    text = str(unreadable(path, error) if isinstance(error, OSError) else error)
    return text.removeprefix(f"{path} ")


def ahead(work: Callable[[T], R], tasks: Iterable[T], workers: int | None = None) -> Iterator[tuple[T, Future[R]]]:
    """Work on tasks in threads, a bounded number of them ahead, and yield them in their order."""
    workers = workers or min(4, os.cpu_count() or 1)  # more only fight for the interpreter
    window: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="darklens-read") as pool:
        try:
            for task in tasks:
                window.append((task, pool.submit(work, task)))
                if len(window) > 4 * workers:
                    yield window.popleft()
            while window:
                yield window.popleft()
        finally:
            for _, future in window:
                future.cancel()


def _read_tree(root: Path, options: Options, on_skip: Skip | None, workers: int | None) -> Iterator[Record]:
    skipped = _Skipped(on_skip)
    found = 0
    for file, future in ahead(lambda file: _start(file, options), image_files(root, skipped), workers):
        try:
            for record in _settled(future, file, options):
                found += 1
                yield record
        except InputError as error:
            if on_skip is None:
                raise
            skipped(file.path, reason(file.path, error))
    if not found:
        remedy = f"passed over {skipped.count} files, first {skipped.first}" if skipped.count else "it is empty"
        raise InputError(f"{root} holds no image that can be read ({remedy}): give .npy, .npz or FITS files")


def _settled(future: Future[Iterator[Record]], file: File, options: Options) -> Iterator[Record]:
    """Return what a thread decoded; a file that failed there is tried again alone: damage fails twice, a race does not."""
    try:
        return future.result()
    except InputError:
        return _start(file, options)


class _Skipped:
    """Counts what is left out, keeps the first, and passes all on."""

    def __init__(self, on_skip: Skip | None) -> None:
        self.count, self.first, self._on_skip = 0, "", on_skip

    def __call__(self, path: Path, why: str) -> None:
        self.first = self.first or f"{path.name} {why.partition(':')[0]}"
        self.count += 1
        if self._on_skip is not None:
            self._on_skip(path, why)


def _start(file: File, options: Options) -> Iterator[Record]:
    """Decode the first image of a file, here in a thread; the others, if it is a stack, follow when they are wanted."""
    records = _read_file(file, options)
    return chain([next(records)], records)


def _read_file(file: File, options: Options) -> Iterator[Record]:
    try:
        for record in format_of(file.path, look_inside=True).read(file.path, options):
            partner = {"low_resolution": str(file.low_resolution)} if file.low_resolution else {}
            yield record.with_(id=file.id + record.id, label=file.label, split=file.split, metadata=record.metadata | partner)
    except OSError as error:
        raise unreadable(file.path, error) from error
