"""A vetting room: a list of images, their pictures, and what people say of them.

People vote each for themselves: what others said is not shown, and everybody's word is kept. With `voters` an image is handed to
that many people and no more, as long as each answers within `LEASE` seconds; an answer that comes later, or without being asked
for, is kept as well. So nothing that somebody decided is ever refused, and how far people agree can be measured.

Beside the list lies `decisions.csv`, which `darklens active learn` and `darklens candidates` read. What is in it is taken over when
the room opens; it is written again within seconds of each decision. The database is what counts: the sheet is made from it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darklens.data.decisions import Decision, read_decisions, settle, write_decisions
from darklens.data.filesystem import is_url
from darklens.errors import DarklensError, InputError
from darklens.serve.candidates import CandidateList, Progress, open_list
from darklens.serve.database import open_database
from darklens.serve.ledger import Kept, Ledger, Word
from darklens.serve.pictures import Pictures

SHEET, DATABASE = "decisions.csv", "vetting.db"
PAUSE = 1.0
"""Seconds between a decision and the sheet that has it, so that many share one writing."""

_log = logging.getLogger("darklens.serve")


class VettingRoom:
    """See the module; `VettingRoom.open` makes one.

    Args:
        listed: the images.
        ledger: where decisions are kept.
        pictures: of the images.
        missing: id -> why there is no picture.
        sheet: file of decisions that is kept up to date, None for none.
        voters: people who shall answer about each image; None: everybody about all of them.
    """

    def __init__(
        self,
        listed: CandidateList,
        ledger: Ledger,
        pictures: Pictures,
        missing: dict[str, str],
        sheet: Path | None,
        voters: int | None,
    ) -> None:
        self.listed, self.ledger, self.pictures, self.missing, self.voters = listed, ledger, pictures, missing, voters
        self.ids = listed.ids
        self._known = set(self.ids)
        self._keeper = None if sheet is None else SheetKeeper(sheet, self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        db: str | None = None,
        images: str | Path | None = None,
        voters: int | None = None,
        progress: Progress = lambda phase, done, total: None,
    ) -> VettingRoom:
        """Open a room.

        Args:
            path: candidates, scores, a queue or a campaign; see `darklens.serve.candidates`.
            db: database; by default a file of SQLite beside the list.
            images: where the images are, if not where the list says.
            voters: people who shall answer about each image; everybody about all by default.
            progress: called with phase, done and total.

        Raises:
            InputError: a list, a database or a sheet of decisions that cannot be used, or a room with decisions about other images.
        """
        if voters is not None and voters < 1:
            raise InputError(f"{voters} people cannot answer about an image: give at least 1")
        listed = open_list(path, images=images, progress=progress)
        ledger = open_ledger(listed, db)
        records, missing = listed.read_images()
        sheet = None if is_url(str(path)) else beside(listed.path, SHEET)
        room = cls(listed, ledger, Pictures(records.values()), missing, sheet, voters)
        if room._keeper is not None:
            room._keeper.take_over()
        return room

    def record(self, who: str, words: Sequence[Word]) -> list[Kept]:
        """Write down what somebody said; see `Ledger.record`.

        Raises:
            InputError: an image that is not listed, or a word that is no answer.
        """
        for word in words:
            if word.candidate not in self._known:
                raise InputError(f"{word.candidate[:80]!r} is not listed here: reload the page")
            if word.decision is not None and word.decision not in self.listed.answers:
                answers = ", ".join(self.listed.answers)
                raise InputError(f"{word.decision[:80]!r} is no answer: give {answers}, or null to take one back")
        kept = self.ledger.record(who, words)
        if self._keeper is not None and any(one.new for one in kept):
            self._keeper.changed.set()
        return kept

    def next_for(self, who: str, n: int) -> list[str]:
        """Return the ids of up to n images that somebody shall look at next, held for them where people share the work."""
        return self.ledger.hand_out(who, self.ids, n, self.voters)

    def decisions(self) -> list[Decision]:
        """Return the last word of each person on each image."""
        return self.ledger.votes()

    def verdicts(self) -> list[dict[str, Any]]:
        """Return a row for each image: its label where people have settled on one, whether they are at odds, how many said what."""
        decisions = self.decisions()
        settled = settle(decisions)
        voices: dict[str, dict[str, int]] = {name: dict.fromkeys(self.listed.answers, 0) for name in self.ids}
        for decision in decisions:
            if decision.decision in voices.get(decision.id, {}):
                voices[decision.id][decision.decision] += 1
        return [
            {
                "id": name,
                "label": settled.labels.get(name) or settled.aside.get(name) or "",
                "conflict": int(name in settled.conflicts),
                **voices[name],
            }
            for name in self.ids
        ]

    def start(self) -> None:
        """Begin to keep the sheet up to date."""
        if self._keeper is not None:
            self._keeper.changed.set()  # who died did not write the last decisions
            self._keeper.start()

    def close(self) -> None:
        """Write the sheet a last time, and leave the database."""
        if self._keeper is not None:
            self._keeper.stop()
        self.ledger.engine.dispose()


class SheetKeeper(threading.Thread):
    """Keeps `decisions.csv` as the database has it.

    Args:
        path: the sheet.
        room: whose decisions it holds.
    """

    def __init__(self, path: Path, room: VettingRoom) -> None:
        super().__init__(name="decisions", daemon=True)
        self.path, self.room, self.changed = path, room, threading.Event()
        self._stopping = threading.Event()
        self._seen: tuple[int, int] | None = None

    def take_over(self) -> None:
        """Enter what somebody wrote into the sheet by hand, or on the page that needs no server.

        Raises:
            InputError: the sheet is damaged, or holds a word that is no answer.
        """
        if self.path.is_file() and (stamp := self._stamp()) != self._seen:
            self.room.ledger.adopt(read_decisions(self.path, None, self.room.listed.classes, may_be_empty=True))
            self._seen = stamp

    def write(self) -> None:
        """Write the sheet: what is decided, then what is not."""
        self.take_over()
        decisions = self.room.decisions()
        done = {decision.id for decision in decisions}
        write_decisions(self.path, [*decisions, *(Decision(name, "") for name in self.room.ids if name not in done)])
        self._seen = self._stamp()

    def run(self) -> None:
        """Write whenever something has changed."""
        while not self._stopping.is_set():
            if self.changed.wait(PAUSE):
                self._stopping.wait(PAUSE)
                self.changed.clear()
                self._write_or_say()

    def stop(self) -> None:
        """Write what is not written yet, and end."""
        self._stopping.set()
        if self.is_alive():
            self.join(10 * PAUSE)
        if self.changed.is_set():
            self._write_or_say()

    def _write_or_say(self) -> None:
        try:
            self.write()
        except DarklensError as error:
            _log.warning("%s is not up to date (the database is): %s", self.path, error)

    def _stamp(self) -> tuple[int, int]:
        about = self.path.stat()
        return about.st_mtime_ns, about.st_size


def open_ledger(listed: CandidateList, db: str | None) -> Ledger:
    """Open the decisions about a list.

    Raises:
        InputError: a database that cannot be used, or one whose room of this name holds decisions about other images.
    """
    if db is None and is_url(str(listed.path)):
        raise InputError(f"decisions cannot lie beside {listed.path}: give --db sqlite:///FILE or postgresql://...")
    ledger = Ledger(open_database(db or beside(listed.path, DATABASE)), "" if db is None else listed.name)
    there = {decision.id for decision in ledger.votes()}
    if there and there.isdisjoint(listed.ids):
        why = f"the database holds decisions of a room {listed.name!r} about other images"
        raise InputError(f"{why}: rename the folder, or give another --db")
    return ledger


def beside(path: Path, name: str) -> Path:
    """Return the place of a file that belongs to a list: in its folder, or next to its file."""
    return path / name if path.is_dir() else path.with_name(f"{path.name}.{name}")
