"""The folder of a campaign.

    CAMPAIGN/
      campaign.json       pool, its fingerprint, first run, classes, seed, settings
      pool.parquet        id and content hash of every image that may be asked for
      images/             tables: replay (of the first training), tune (sets epoch and temperature), judge (measures, nothing else)
      first/              the first run, where a recipe was given
      queues/001/         queue.csv (id, source, why, score), decisions.csv to fill in, sheet.png, label.html
      decisions.csv       the last word of everybody on every image that was learned from
      rounds/000/         the first run, measured on `judge`
      rounds/001/         a run like any other; besides round.json, its decisions.csv, conflicts.csv and the table labelled/
      history.json        one entry a finished round

A round is finished when the history has it. Files are written whole; what was killed is continued by the same command.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import Table, TableWriter
from darklens.data.decisions import Decision, read_decisions
from darklens.errors import InputError
from darklens.files import read_json, write_json
from darklens.recipes.campaign.pool import Pool
from darklens.runs import Run
from darklens.train.active.fine_tuning import seen
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor

ABOUT, HISTORY, DECISIONS, ROUND = "campaign.json", "history.json", "decisions.csv", "round.json"
Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]


class Campaign:
    """A campaign on disk; `begin`, `ask` and `learn` change it, this reads it.

    Args:
        path: its folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.about: dict[str, Any] = read_json(self.path / ABOUT)

    @classmethod
    def open(cls, path: str | Path) -> Campaign:
        """Open a campaign.

        Raises:
            InputError: the folder is none, or its beginning was not finished.
        """
        path = Path(path)
        if not (path / ABOUT).is_file():
            raise InputError(
                f"{path} is not a campaign (it has no {ABOUT}): begin one with darklens active start POOL --out {path}"
            )
        found = cls(path)
        if not found.about.get("complete"):
            raise InputError(f"{path} is begun and not finished: give the same darklens active start again")
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the last one is what is searched for."""
        return tuple(self.about["classes"])

    @cached_property
    def pool(self) -> Pool:
        """The images that may be asked for."""
        about = self.about["pool"]
        return Pool(Path(about["path"]), tuple(self.about["shape"]), about["resize"], about["hdu"]).loaded(
            self.path / "pool.parquet"
        )

    @property
    def history(self) -> list[dict[str, Any]]:
        """One entry a finished round: number, labels, metrics on the judging images."""
        path = self.path / HISTORY
        return read_json(path)["rounds"] if path.is_file() else []

    def add(self, entry: dict[str, Any]) -> None:
        """Enter a finished round into the history; the last thing that is written of it."""
        write_json(self.path / HISTORY, {"rounds": [*self.history, entry]})

    def round(self, number: int) -> Path:
        """Return the run folder of a round, which need not exist yet."""
        return self.path / "rounds" / f"{number:03d}"

    @property
    def current(self) -> Run:
        """The run of the last finished round."""
        return Run.open(self.round(len(self.history) - 1))

    @property
    def begun(self) -> int | None:
        """Number of a round that is begun and not finished, None if there is none."""
        number = len(self.history)
        return number if (self.round(number) / ROUND).is_file() else None

    @property
    def queues(self) -> list[Path]:
        """Folders of what was asked for, in order."""
        return sorted((self.path / "queues").glob("[0-9][0-9][0-9]*"), key=lambda p: int(p.name))

    @property
    def asked(self) -> dict[str, int]:
        """Id -> number of the queue of every image that was asked for."""
        return {name: int(folder.name) for folder in self.queues for name in _ids(folder / "queue.csv")}

    @property
    def decisions(self) -> list[Decision]:
        """What was learned from, up to the last finished round."""
        path = self.path / DECISIONS
        return read_decisions(path, self.pool.hashes, self.classes) if path.is_file() else []

    def images_there(self, name: str) -> bool:
        """Whether there are images of a set."""
        return (self.path / "images" / name).is_dir()

    def images(self, name: str, predictor: Predictor) -> ImageSet | None:
        """Return one of the labelled sets, `replay`, `tune` or `judge`, as a network sees it; None where it is empty."""
        return as_set(Table.open(self.path / "images" / name), predictor) if self.images_there(name) else None

    def labelled_ids(self, number: int) -> list[str]:
        """Return the images that got their first label in a round."""
        path = self.round(number) / "labelled"
        return Table.open(path).ids.tolist() if path.is_dir() else []

    def labelled(self, predictor: Predictor, labels: dict[str, str]) -> ImageSet | None:
        """Return the images that people gave a label in any round so far, with these labels; None without any."""
        tables = [Table.open(path) for n in range(1, len(self.history) + 1) if (path := self.round(n) / "labelled").is_dir()]
        images = {name: image for t in tables for name, image in zip(t.ids, t.images(), strict=True) if name in labels}
        if not images:
            return None
        classes = predictor.task.encode(np.array([labels[name] for name in images], dtype=object))
        return seen(predictor, np.stack(list(images.values())), classes, np.array(list(images), dtype=object))


def as_set(table: Table, predictor: Predictor) -> ImageSet:
    """Return a labelled table as a network sees it."""
    return seen(predictor, table.images(), predictor.task.encode(table.labels), table.ids)


def write_table(
    path: Path, images: np.ndarray, labels: list[str | None], ids: list[str], classes: tuple[str, ...], summary: str
) -> None:
    """Write a table of labelled images, in place of what was begun there."""
    with TableWriter(
        path, shape=images.shape[1:], classes=classes, manifest={"summary": summary, "rows": len(ids)}, force=True
    ) as writer:
        writer.write_columns(ids, images, labels, {})


def _ids(path: Path) -> list[str]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file)]
