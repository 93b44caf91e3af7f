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
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from darklens.data.bands import common_name, expand
from darklens.data.catalogue import catalogue_files, is_catalogue, with_bands
from darklens.data.folders import MARKER, NO_TEXT, TRUTH, File, Skip, is_text, low_resolution, stem
from darklens.data.formats import format_of
from darklens.data.joining import choose, joined
from darklens.data.manifest import MANIFEST
from darklens.data.options import Options
from darklens.data.record import Record, add_note, with_blank_bands_noted
from darklens.data.stack import Shaped
from darklens.data.table import Table
from darklens.data.tree import files_below
from darklens.errors import InputError
from darklens.files import unreadable

T = TypeVar("T")
R = TypeVar("R")
MEMORY_BYTES_AT_MOST = 8 << 30


def read(
    path: str | Path,
    *,
    hdu: int | str | Sequence[int | str] | None = None,
    key: str | None = None,
    layout: str | None = None,
    fill: float | str | None = None,
    bands: str | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    mask: float | None = None,
    largest: float | None = None,
    label: str | None = None,
    on_skip: Skip | None = None,
    workers: int | None = None,
) -> Iterator[Record]:
    """Read images, streamed and in sorted order.

    Args:
        path: a `.npy`, `.npz` or FITS file, `NAME_{g,r,i}.fits` for one file a band, a folder of them in any of the field's
            layouts, a catalogue that lists them (`.csv` or `.parquet` with a column of paths), or a table.
        hdu: extension of FITS files, see `Options`.
        key: array of `.npz` files.
        layout: what the leading axis of 3-D arrays is.
        fill: what to put where a pixel is not finite or masked, see `Options`, as for `bands`, `size` and `mask`.
        bands: the bands in the order that is wanted, `g,r,i`.
        size: `(y, x)` for bands on several pixel grids.
        mask: value that marks masked pixels.
        largest: size of the largest value that is taken, see `Options`; noise maps may give infinity.
        label: class of all images, whatever their folders are called.
        on_skip: called with path and reason of every file below a folder that is left out. Without it a damaged file
            raises, and files that are no images are passed over.
        workers: number of threads.

    Returns:
        An iterator over records.

    Raises:
        InputError: there is nothing to read, or (without `on_skip`, or if `path` is a file) something cannot be read.
    """
    path, options = Path(path), Options(hdu, key, layout, fill, bands, size, mask, largest)
    if os.path.isfile(path / MANIFEST):
        records: Iterator[Record] = (_finished(record, options) for record in Table.open(path).records())
    elif os.path.isdir(path) or is_catalogue(path):
        records = _read_tree(path, options, on_skip, workers)
    else:
        records = _read_file(sole_file(path, options), options)
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


def files_of(path: Path, options: Options, on_skip: Skip) -> Iterator[File]:
    """Iterate over the files at a path: below a folder, listed in a catalogue, or the one that it is.

    Raises:
        InputError: nothing is there, or a catalogue is none.
    """
    if os.path.isdir(path):
        return _image_files(path, options, on_skip)
    if is_catalogue(path):
        return catalogue_files(path, options.bands, on_skip)
    return iter([sole_file(path, options)])


def sole_file(path: Path, options: Options) -> File:
    """Return a single file as something to read; several, if the name has braces: `NAME_{g,r,i}.fits`.

    Raises:
        InputError: it is no regular file.
    """
    paths = [path] if path.exists() else expand(path)
    for one in paths:
        if not is_text(one):
            raise InputError(f"{one} {NO_TEXT}")
        try:
            regular = stat.S_ISREG(one.stat().st_mode)
        except OSError as error:
            raise unreadable(one, error) from error
        if not regular:
            raise InputError(f"{one} is not a regular file: give a file or a folder")
    if len(paths) == 1:
        return File(path, stem(path))
    name = common_name([stem(one) for one in paths]) or paths[0].resolve().parent.name
    return with_bands(File(paths[0], name), paths, options.bands)


def _image_files(path: Path, options: Options, on_skip: Skip) -> Iterator[File]:
    """Iterate over the files below a folder whose suffix is that of an image, in sorted order."""

    def wanted(file: Path) -> bool:
        try:
            format_of(file)
        except InputError as error:
            if file.name not in (MARKER, TRUTH) or not (file.parent / MARKER).is_file():  # those of an export are no surprise
                on_skip(file, reason(file, error))
            return False
        return True

    return files_below(path, wanted, on_skip, options.bands)


def reason(path: Path | str, error: InputError | OSError) -> str:
    """Return an error's text without the path, to stand beside it."""
    text = str(unreadable(Path(path), error) if isinstance(error, OSError) else error)
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
    skipped, found = _Skipped(on_skip), 0
    for record in read_files(files_of(root, options, skipped), options, None if on_skip is None else skipped, workers):
        found += 1
        yield record
    if not found:
        why, _, remedy = skipped.first.partition(": ")
        why = f"passed over {skipped.count} files, first {why}" if skipped.count else "it is empty"
        raise InputError(f"{root} holds no image that can be read ({why}): {remedy or 'give .npy, .npz or FITS files'}")


def read_files(files: Iterable[File], options: Options, on_skip: Skip | None, workers: int | None = None) -> Iterator[Record]:
    """Read the images of some files, in their order, decoded in threads.

    Args:
        files: see `files_of`.
        options: how to read them.
        on_skip: called with path and reason of a file that cannot be read; None raises instead.
        workers: number of threads.

    Raises:
        InputError: (without `on_skip`) a file cannot be read, or has other bands than the first.
    """
    bands: list[str] | None = None
    for file, future in ahead(lambda file: _start(file, options), files, workers):
        try:
            for record in _settled(future, file, options):
                bands = _same_bands(record, bands)
                yield record
        except InputError as error:
            if on_skip is None:
                raise
            on_skip(Path(file.source), reason(file.source, error))


def _same_bands(record: Record, bands: list[str] | None) -> list[str] | None:
    """Make sure that the bands of an image are those of the first, in their order, and return them.

    Raises:
        InputError: they are not.
    """
    own = record.metadata.get("bands")
    if bands is not None and own is not None and own != bands:
        remedy = f"read all in one order with --bands {','.join(bands)}"
        raise InputError(f"{record.source} has bands {','.join(own)} where the first image has {','.join(bands)}: {remedy}")
    return bands or own


def _settled(future: Future[Iterator[Record]], file: File, options: Options) -> Iterator[Record]:
    """Return what a thread decoded; a file that failed there is tried again alone: damage fails twice, a race does not."""
    try:
        return future.result()
    except InputError:
        return _start(file, options)


class _Skipped:
    """Counts what is left out, keeps the first, of images before files that were never meant to be any, and passes all on."""

    def __init__(self, on_skip: Skip | None) -> None:
        self.count, self.first, self._on_skip = 0, "", on_skip
        self._beside_the_point = True

    def __call__(self, path: Path, why: str) -> None:
        beside_the_point = why.startswith(("is text", "is hidden"))
        if not self.first or (self._beside_the_point and not beside_the_point):
            self.first, self._beside_the_point = f"{path.name} {why}", beside_the_point
        self.count += 1
        if self._on_skip is not None:
            self._on_skip(path, why)


def _start(file: File, options: Options) -> Iterator[Record]:
    """Decode the first image of a file, here in a thread; the others, if it is a stack, follow when they are wanted."""
    records = _read_file(file, options)
    return chain([next(records)], records)


def _read_file(file: File, options: Options) -> Iterator[Record]:
    if file.mask is not None and options.mask is None:
        options = replace(options, mask=file.mask)
    try:
        read_alone = format_of(file.path, look_inside=True).read
        for record in _read_bands(file, options) if file.paths else read_alone(file.path, options):
            metadata = record.metadata | ({"low_resolution": str(file.low_resolution)} if file.low_resolution else {})
            if file.mask is not None and record.metadata.get("filled"):
                metadata = add_note(metadata, f"pixels of value {file.mask:g} are the challenge's mask")
            yield _finished(
                record.with_(
                    id=file.id + record.id,
                    label=file.label,
                    split=file.split,
                    truth=record.truth | dict(file.truth),
                    source=file.source,
                    metadata=metadata,
                ),
                options,
            )
    except OSError as error:
        raise unreadable(file.path, error) from error


def _read_bands(file: File, options: Options) -> Iterator[Record]:
    """Read an object that has one file a band; of cubes, the n-th plane of each is an object."""
    if missing := next((path for path in file.paths if not path.exists()), None):
        raise InputError(f"{file.source} has no file {missing.name} for one of its bands: add it or give --bands")
    alone = replace(options, bands=None, layout="stack", hdu=options.hdu)
    streams = [format_of(path, look_inside=True).read(path, alone) for path in file.paths]
    for record in joined(streams, file.bands, file.source, options.size):
        only = record.id == "[0]" and format_of(file.path, look_inside=True).probe(file.path, alone).count == 1
        yield record.with_(id="") if only else record


def _finished(record: Record, options: Options) -> Record:
    """Choose bands where the reader could not, since the file does not name them, and note those that are empty."""
    if options.bands is not None and record.metadata.get("bands") != list(options.bands):
        record = choose(record, options.bands)
    return with_blank_bands_noted(record)


def probe_file(file: File, options: Options) -> Shaped:
    """Return shape and number of a file's images from its header; of an object with one file a band, from its first."""
    if not file.paths:
        found = format_of(file.path, look_inside=True).probe(file.path, options)
        bands = tuple(found.bands or options.bands or ())
        shape = (len(bands) or found.shape[0], *found.shape[1:])
        return replace(found, shape=shape, truth=(*found.truth, *file.truth), bands=bands)
    alone = replace(options, bands=None, layout="stack")
    found = format_of(file.path, look_inside=True).probe(file.path, alone)
    return replace(found, shape=(len(file.bands), *found.shape[1:]), truth=(*found.truth, *file.truth), bands=file.bands)
