"""Scores of a survey: the work unit, which images of a part it takes, what it writes, and how one machine does all of them.

A part is read, scored and written under its final name in one go; what has that name is finished. Whoever is killed loses the part
in flight, and the next run does what is missing: no image is lost, none comes twice, however often that happens. The same unit runs
here, in several processes, and on a Ray cluster (`darklens.cluster.score`).
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from darklens.data import resize_image
from darklens.data.filesystem import Folder
from darklens.data.parts import Cutouts, PartedInput
from darklens.data.record import LARGEST
from darklens.data.scores import BAD, SCORES, bad_table, part_name, part_number
from darklens.errors import InputError, WorkError
from darklens.files import sha256_of
from darklens.train.answers import Answers, Judge
from darklens.train.columns import beside, with_planes
from darklens.train.prediction_file import more_columns
from darklens.train.preprocess import check, check_bands

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
AHEAD = 3
"""Lots of cutouts that are read before they are wanted: reading and scoring overlap, and memory stays what a few lots take."""
NAMED = 100
"""Files that are no images, or lack a band, and are named in the manifest."""
END = object()


@dataclass(frozen=True)
class Scorer:
    """The work unit: part number -> finished part. It can be sent to other machines.

    Args:
        judge: a trained model, or several as one.
        images: what is scored.
        folder: where the scores go.
        resize: accept images of another size, by resampling.
        listed: those of the judge's columns that the input has for all images: a value that is missing there is not known; where
            others are missing, the image cannot be scored.
    """

    judge: Judge
    images: PartedInput
    folder: Folder
    resize: bool = False
    listed: tuple[str, ...] = ()

    def on(self, device: str) -> Scorer:
        """Return the same with the networks on a device."""
        return replace(self, judge=self.judge.on(device))

    def score(self, part: int) -> int:
        """Read, score and write a part; return how many rows or files of the input it was."""
        return self.finish(part, self.images.read(part))

    def score_once(self, part: int) -> int:
        """Do the same unless the part is there, as it may be when a task of several parts is done again."""
        if self.folder.has(part_name(part)):
            first, end = self.images.span(part)
            return end - first
        return self.score(part)

    def sample(self, part: int, most: int) -> np.ndarray:
        """Return the first images of a part that suit the model, `(n, bands, H, W)`, at most so many."""
        found: list[np.ndarray] = [np.zeros((0, *self.judge.shape), np.float32)]
        for lot in self.images.read(part):
            found.append(self._images(lot, [])[0][:most])
            if sum(map(len, found)) >= most:
                break
        return np.concatenate(found)[:most]

    def finish(self, part: int, lots: Iterable[Cutouts]) -> int:
        """Score and write what was read of a part."""
        bad: list[tuple[str, str, str]] = []
        tables = [self._table(lot, bad) for lot in lots]
        self._write(part, tables, bad)
        first, end = self.images.span(part)
        return end - first

    def _table(self, lot: Cutouts, bad: list[tuple[str, str, str]]) -> pa.Table:
        """Score what suits the model, and enter what does not, with the reason."""
        bad += lot.unreadable
        images, chosen = self._suitable(lot, bad)
        answers = self.judge.answers(images) if len(chosen) else None
        return self._columns(lot, chosen, answers)

    def _suitable(self, lot: Cutouts, bad: list[tuple[str, str, str]]) -> tuple[np.ndarray, list[int]]:
        """Return the images that suit the model, with the planes of its columns, and where they stand in a lot."""
        images, chosen = self._images(lot, bad)
        if not self.judge.columns:
            return images, chosen
        kept, values = beside(lot, chosen, self.judge.columns, self.listed, bad)
        return with_planes(images[kept], values), [chosen[place] for place in kept]

    def _images(self, lot: Cutouts, bad: list[tuple[str, str, str]]) -> tuple[np.ndarray, list[int]]:
        shape = self.judge.shape
        whole = lot.images if isinstance(lot.images, np.ndarray) and lot.images.shape[1:] == shape and len(lot.images) else None
        if whole is not None and (np.abs(whole.sum(axis=(1, 2, 3), dtype=np.float64)) < LARGEST).all():  # a sum hides no NaN
            return whole, list(range(len(lot.ids)))
        found, chosen = [], []
        for i, image in enumerate(lot.images):
            try:
                check_bands(lot.bands[i], self.judge.bands, lot.sources[i])
                found.append(self.suited(image, lot.sources[i]))
                chosen.append(i)
            except InputError as error:
                bad.append((lot.ids[i], lot.sources[i], str(error).removeprefix(f"{lot.sources[i]} ")))
        return (np.stack(found) if found else np.zeros((0, *shape), np.float32)), chosen

    def suited(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return an image as the model takes it.

        Raises:
            InputError: it has other bands, another size, or pixels that are not finite.
        """
        image = resize_image(image, self.judge.shape[1:]) if self.resize else image
        return check(image, self.judge.shape, name)

    def _columns(self, lot: Cutouts, chosen: list[int], answers: Answers | None) -> pa.Table:
        """Return the rows of some images; `answers` is None where there are none, and the table then has the names alone."""
        import pyarrow as pa

        classes = self.judge.classes
        names = {"id": lot.ids, "source": lot.sources}
        columns: dict[str, Any] = {name: pa.array([values[i] for i in chosen], pa.string()) for name, values in names.items()}
        columns |= {name: _array([values[i] for i in chosen]) for name, values in lot.columns.items()}
        if answers is None:
            return pa.table(columns)
        columns["predicted"] = [classes[i] for i in answers.called]
        columns |= {name: answers.probabilities[:, k].astype(np.float64) for k, name in enumerate(classes)}
        return pa.table(columns | more_columns(answers, classes))

    def _write(self, part: int, tables: list[pa.Table], bad: list[tuple[str, str, str]]) -> None:
        """Write the side table first: the part, whose name says that all is there, comes last."""
        import pyarrow as pa

        whole = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({"id": pa.array([], pa.string())})
        if bad:
            self.folder.below(BAD).write(part_name(part), _parquet(bad_table(bad)))
        self.folder.write(part_name(part), _parquet(whole))


def _array(values: list[Any]) -> pa.Array:
    """Return carried values, text or numbers, null where unknown."""
    import pyarrow as pa

    if all(value is None for value in values):
        return pa.nulls(len(values))
    return pa.array(values, pa.string() if isinstance(next(v for v in values if v is not None), str) else pa.float64())


def _parquet(table: pa.Table) -> bytes:
    import io

    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


class Survey:
    """What is done of a survey, and what is missing.

    Args:
        scorer: the work unit.
        about: what else pins the scores, beside run, input and cut.
        force: replace scores that are there.

    Raises:
        InputError: a table does not fit the model, or the folder cannot be written, or holds something else, or the scores of
            another run or input.
    """

    def __init__(self, scorer: Scorer, about: dict[str, Any], *, force: bool = False) -> None:
        self.scorer, self.folder = scorer, scorer.folder
        if scorer.images.shape is not None:  # a table is of one shape: that it does not fit is no matter of single images
            scorer.suited(np.zeros(scorer.images.shape, np.float32), scorer.images.url)
            check_bands(scorer.images.bands, scorer.judge.bands, scorer.images.url)
        self.manifest = _manifest(scorer, about)
        self.folder.make()
        names = self.folder.names()
        if force:
            self._clear(names)
        elif SCORES in names:
            same_survey(self.folder.read_json(SCORES), self.manifest, self.folder.url)
        elif any(name != BAD and not name.endswith(".tmp") for name in names):
            raise InputError(f"{self.folder.url} holds something that is not scores: choose another folder")
        if force or SCORES not in names:
            self.folder.write_json(SCORES, self.manifest)
        self.folder.below(BAD).make()
        found = {} if force else {part_number(name) for name in names}
        self.missing = [part for part in range(self.manifest["parts"]) if part not in found]
        self.done = scorer.images.size - sum(end - first for first, end in map(scorer.images.span, self.missing))

    def _clear(self, names: set[str]) -> None:
        """Remove what is ours, and nothing else that may lie there; the manifest first, as parts without one count for nothing."""
        if SCORES in names:
            self.folder.remove(SCORES)
        elif any(name != BAD for name in names):
            raise InputError(f"{self.folder.url} holds something that is not scores: choose another folder")
        self.folder.remove(*sorted(name for name in names if part_number(name) is not None))
        bad = self.folder.below(BAD)
        bad.remove(*sorted(name for name in bad.names() if part_number(name) is not None))

    def finish(self) -> dict[str, Any]:
        """Count rows, see that none is lost or doubled, and declare the survey complete.

        Returns:
            The manifest.

        Raises:
            WorkError: parts are missing, or the rows of a table are not as many as were scored.
        """
        names, bad = self.folder.names(), self.folder.below(BAD)
        lost = [part for part in range(self.manifest["parts"]) if part_name(part) not in names]
        if lost:
            raise WorkError(
                f"{len(lost)} parts, the first {part_name(lost[0])}, were written but are not in {self.folder.url} as this machine "
                "sees it: give --out a folder or an object store that all nodes share"
            )
        rows = _rows_in(self.folder, [part_name(part) for part in range(self.manifest["parts"])])
        refused = _rows_in(bad, sorted(name for name in bad.names() if name in names and part_number(name) is not None))
        due = self.scorer.images.size if self.scorer.images.unit == "rows" else rows + refused
        if rows + refused != due:
            raise WorkError(
                f"{self.folder.url} holds {rows} scores and {refused} refusals for {due} rows: remove it and run the command again"
            )
        passed = [list(pair) for pair in self.scorer.images.passed_over]
        self.manifest |= {"complete": True, "rows": rows, "bad": refused}
        self.manifest |= {"passed_over": {"files": len(passed), "first": passed[:NAMED]}}
        self.folder.write_json(SCORES, self.manifest)
        for folder in (self.folder, bad):
            folder.remove(*sorted(name for name in folder.names() if name.endswith(".tmp") and name.startswith("part-")))
        return self.manifest


def _rows_in(folder: Folder, names: list[str]) -> int:
    def rows(name: str) -> int:
        with folder.open_parquet(name) as part:
            return part.metadata.num_rows

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(rows, names))


def _manifest(scorer: Scorer, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run": described(scorer.judge),
        "input": scorer.images.about(),
        "resize": scorer.resize,
        "keep": list(scorer.images.keep),
        **about,
        "images_per_part": scorer.images.size_of_part,
        "parts": scorer.images.parts,
        "classes": list(scorer.judge.classes),
        "complete": False,
        "rows": None,
        "bad": None,
    }


def described(judge: Judge) -> dict[str, Any]:
    """Return what pins a judge: the weights of its networks, and every setting that is a number, a text, or a list of them."""
    members = getattr(judge, "members", [judge])
    weights = [sha256_of(member.run.weights) for member in members]
    settings = [_settings(one) for one in dict.fromkeys([judge, *members])]
    plans = [member.plan and member.plan.key() for member in members]
    digest = hashlib.sha256(json.dumps([settings, plans], sort_keys=True, default=str).encode()).hexdigest()
    return {"names": [str(member.run.name) for member in members], "weights": weights, "settings": digest}


def _settings(judge: Judge) -> dict[str, Any]:
    plain = (str, int, float, bool, tuple, type(None))
    return {name: value for name, value in vars(judge).items() if isinstance(value, plain)}


def same_survey(old: dict[str, Any], new: dict[str, Any], url: str) -> None:
    """Make sure that the scores that are there are of this run, this input and this cut.

    Raises:
        InputError: they are not.
    """
    pinned = [key for key in new if key not in ("complete", "rows", "bad")]
    for key in pinned:
        there, here = _pinned(key, old.get(key)), _pinned(key, new[key])
        if there != here:
            inner = [k for k in here if there.get(k) != here[k]] if isinstance(here, dict) and isinstance(there, dict) else []
            what = f"{key} ({', '.join(inner)})" if inner else key
            raise InputError(f"{url} holds scores of another {what}: choose another --out, or replace them with --force")


def _pinned(key: str, value: Any) -> Any:
    """Leave out what a run and an input are called: the same weights and images may have moved."""
    return {k: v for k, v in value.items() if k not in ("names", "path")} if isinstance(value, dict) else value


def score_here(scorer: Scorer, parts: Iterable[int], done: Callable[[int], None]) -> None:
    """Score parts on this machine, in this process; the next images are read while these are scored."""
    for part, lots in _read_ahead(scorer.images, parts):
        done(scorer.finish(part, lots))


def _read_ahead(images: PartedInput, parts: Iterable[int]) -> Iterator[tuple[int, Iterator[Cutouts]]]:
    """Read parts in a thread, some lots ahead, and give each part with an iterator over its lots, to be used up before the next."""
    lots: queue.Queue[Any] = queue.Queue(AHEAD)
    ended = threading.Event()

    def put(item: Any) -> bool:
        while not ended.is_set():
            try:
                lots.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for part in parts:
                if not (put(part) and all(put(lot) for lot in images.read(part)) and put(END)):
                    return
            put(None)
        except BaseException as error:  # raised again where the images are wanted
            put(error)

    def of_one_part() -> Iterator[Cutouts]:
        while (item := lots.get()) is not END:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=read, name="darklens-ahead", daemon=True)
    thread.start()
    try:
        while (item := lots.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item, of_one_part()
    finally:
        ended.set()
        thread.join()


def score_in(scorer: Scorer, parts: Sequence[int], workers: int, done: Callable[[int], None]) -> None:
    """Score parts on this machine, in this process or in several of one share of its cores each.

    Raises:
        WorkError: a process was killed; what is done is kept.
    """
    if workers == 1:
        return score_here(scorer, parts, done)
    import multiprocessing

    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch and Arrow, and their locks
    try:
        with ProcessPoolExecutor(workers, context, _begin, (scorer, threads)) as pool:
            waiting = [pool.submit(_score, part) for part in parts]
            try:
                for future in as_completed(waiting):
                    done(future.result())
            finally:
                for future in waiting:
                    future.cancel()
    except BrokenProcessPool as error:
        raise WorkError("a process that scores was killed, perhaps for memory: finished parts are kept, run it again") from error
    return None


_scorer: Scorer
"""The work unit of a process that scores, since it began."""


def _begin(scorer: Scorer, threads: int) -> None:
    global _scorer
    torch.set_num_threads(threads)
    _scorer = scorer


def _score(part: int) -> int:
    return _scorer.score(part)
