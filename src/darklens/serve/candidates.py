"""What there is to vet: candidates of a survey, scores as they are, or what a campaign of active learning asks about.

| given | the list | answers |
|---|---|---|
| a folder of `darklens candidates` | its candidates.parquet, most probable first | the classes of its scores |
| scores: a file or folder of `darklens predict --out` | the most probable | the classes of the scores |
| a folder of `darklens active next`, or its campaign (the last queue) | its queue.csv | the classes of the campaign |

`maybe` and `skip` are always answers. What a network says of a question of a campaign is not known here: nobody shall be swayed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklens.data import Record
from darklens.data.decisions import MAYBE, SKIP
from darklens.data.finding import find_images
from darklens.data.ranking import rank
from darklens.errors import InputError
from darklens.files import read_json, unreadable

AT_MOST = 2000
"""Images of a sitting: all of them are kept in memory."""
SEARCHED = "lens"
"""The class whose probability ranks scores."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Candidate:
    """One image to vet.

    Args:
        id: its name.
        source: where it was read from; empty where unknown.
        about: what else is known, as far as it is: `probability`, `ra`, `dec`, `known`, `unusual`, `why`.
    """

    id: str
    source: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CandidateList:
    """Images to vet, and what may be said of them.

    Args:
        path: where the list comes from.
        candidates: in order.
        classes: what an image may be; the last one is what is searched for.
        images: where the images are, if not where the candidates say.
        left_out: how many the list has beyond `AT_MOST`.
    """

    path: Path
    candidates: tuple[Candidate, ...]
    classes: tuple[str, ...]
    images: str | Path | None = None
    left_out: int = 0

    @property
    def name(self) -> str:
        """What a database calls the list: its folder or file, with the campaign before the number of a queue."""
        path = self.path.resolve()
        return f"{path.parent.parent.name}/{path.name}" if (path / "queue.csv").is_file() else path.name

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [candidate.id for candidate in self.candidates]

    @property
    def answers(self) -> tuple[str, ...]:
        """All that may be said of an image: what is searched for first, `skip` last."""
        return (*reversed(self.classes), MAYBE, SKIP)

    @property
    def version(self) -> str:
        """Short text that differs for another list."""
        return hashlib.sha256(json.dumps([str(self.path), self.ids]).encode()).hexdigest()[:12]

    def read_images(self) -> tuple[dict[str, Record], dict[str, str]]:
        """Return id -> record of the images that were found, and id -> why of the others."""
        missing: dict[str, str] = {}
        sources = [candidate.source for candidate in self.candidates]
        return find_images(self.ids, sources, self.images, on_missing=missing.__setitem__), missing


def open_list(
    path: str | Path, *, images: str | Path | None = None, progress: Progress = lambda phase, done, total: None
) -> CandidateList:
    """Open what is to be vetted; see the module for what it may be.

    Args:
        path: a folder of candidates, scores, a queue, or a campaign.
        images: a table, or anything that darklens reads, in which the images are found by their ids.
        progress: called with phase, done and total while scores are ranked.

    Raises:
        InputError: it is none of these, is damaged, or names an image twice.
    """
    given, path = path, Path(path)
    if (path / "candidates.json").is_file():
        found = _of_candidates(path, images)
    elif (path / "queue.csv").is_file():
        found = _of_queue(path, images)
    elif (path / "campaign.json").is_file():
        found = _of_queue(_last_queue(path), images)
    else:
        found = _of_scores(given, images, progress)
    if not found.candidates:
        raise InputError(f"{path} lists no image to vet: choose another folder")
    if len(set(found.ids)) < len(found.ids):
        raise InputError(f"{path} lists an image twice: decisions go by id, so make the list again")
    return found


def _of_candidates(path: Path, images: str | Path | None) -> CandidateList:
    import pyarrow as pa
    import pyarrow.parquet as pq

    summary = read_json(path / "candidates.json")
    try:
        columns = pq.read_table(path / "candidates.parquet").to_pydict()
    except pa.ArrowException as error:
        raise InputError(f"{path / 'candidates.parquet'} cannot be read ({_line(error)}): make the candidates again") from error
    except OSError as error:
        raise unreadable(path / "candidates.parquet", error) from error
    searched = str(summary.get("class", SEARCHED))
    others = [name for name in summary.get("classes") or [f"non{searched}"] if name != searched]
    return _listed(path, columns, searched, (*others, searched), images or summary.get("images"), len(columns["id"]))


def _of_scores(path: str | Path, images: str | Path | None, progress: Progress) -> CandidateList:
    ranking = rank(path, AT_MOST, column=SEARCHED, progress=progress)
    others = [name for name in ranking.classes if name != SEARCHED]
    return _listed(Path(path), ranking.table.to_pydict(), SEARCHED, (*others, SEARCHED), images, ranking.rows - ranking.without)


def _listed(
    path: Path, columns: dict[str, list], searched: str, classes: tuple[str, ...], images: str | Path | None, there: int
) -> CandidateList:
    """Return the first rows of a table as a list."""
    names = {"probability": searched, "ra": "ra", "dec": "dec", "known": "known", "unusual": "unusual", "why": "unusual_because"}
    kept = {name: columns[column][:AT_MOST] for name, column in names.items() if column in columns}
    rows = [dict(zip(kept, values, strict=True)) for values in zip(*kept.values(), strict=True)]
    found = tuple(
        Candidate(str(name), source or "", {key: value for key, value in row.items() if _says(key, value)})
        for name, source, row in zip(columns["id"], columns.get("source") or [""] * there, rows, strict=False)
    )
    return CandidateList(path, found, classes, images, max(there - len(found), 0))


def _says(key: str, value: Any) -> bool:
    """Say whether a column holds something for a row: no null, no NaN, no empty text, no flag that is not set."""
    return value is not None and value == value and value != "" and (key != "unusual" or bool(value))


def _of_queue(path: Path, images: str | Path | None) -> CandidateList:
    about = read_json(path.parent.parent / "campaign.json")
    try:
        with (path / "queue.csv").open(newline="", encoding="utf-8") as file:
            rows = [(row["id"], row.get("source") or "") for row in csv.DictReader(file)]
    except (csv.Error, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path / 'queue.csv'} is no queue ({_line(error)}): give a folder of darklens active next") from error
    except OSError as error:
        raise unreadable(path / "queue.csv", error) from error
    found = tuple(Candidate(name, source) for name, source in rows[:AT_MOST])
    pool = images or about["pool"]["path"]
    return CandidateList(path, found, tuple(about["classes"]), pool, max(len(rows) - AT_MOST, 0))


def _last_queue(campaign: Path) -> Path:
    queues: Sequence[Path] = [p for p in (campaign / "queues").glob("[0-9]*") if p.name.isdigit() and (p / "queue.csv").is_file()]
    if not queues:
        raise InputError(f"{campaign} has asked for nothing yet: run darklens active next {campaign}")
    return max(queues, key=lambda p: int(p.name))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
