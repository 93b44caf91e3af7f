"""What people decide, written down so that nothing is lost and nothing counts twice.

A browser gives each decision a key of its own and sends it until it is acknowledged. The ledger keeps the first of equal keys, and
says of the others that it has them: a decision that is sent again after a crash, on either side, is one decision. Browsers say how
long ago somebody decided, not when: the clocks of different machines do not matter. Of one person's words on one image the latest
counts, in whatever order they come; the keys of one page are `PAGE:NUMBER`, and of these the larger number is later.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Engine, Select, Table, and_, delete, insert, select, update

from darklens.data.decisions import SKIP, Decision
from darklens.errors import InputError
from darklens.serve.database import DECISIONS, LEASES, VOTES, reading, room_of, writing

OLDEST = 30 * 86400.0
"""Seconds that a decision may have waited in a browser."""
LEASE = 120.0
"""Seconds for which an image is in somebody's hands."""


@dataclass(frozen=True)
class Word:
    """What somebody said, as a browser sends it.

    Args:
        key: `PAGE:NUMBER`, made once for each decision; the same key is the same decision.
        candidate: id of the image.
        decision: an answer; None takes the last one back.
        age: seconds since it was said.
    """

    key: str
    candidate: str
    decision: str | None
    age: float = 0.0


@dataclass(frozen=True)
class Kept:
    """What became of a word.

    Args:
        key: of the word.
        new: whether it was not there before.
        decision: what this person's last word on that image is now.
    """

    key: str
    new: bool
    decision: str | None


@dataclass(frozen=True)
class Entry:
    """A line of the history: who said what of which image, when; None where a decision was taken back."""

    number: int
    id: str
    decision: str | None
    who: str
    when: str


class _Last(NamedTuple):
    """The last word of somebody on an image."""

    decision: str | None
    decided: str
    key: str

    def is_followed_by(self, key: str, decided: str) -> bool:
        """Say whether another word came later: as its page has counted, else by its time."""
        page, _, number = key.rpartition(":")
        before, _, earlier = self.key.rpartition(":")
        if page and page == before and number.isdigit() and earlier.isdigit():
            return int(number) > int(earlier)
        return decided >= self.decided


class Ledger:
    """The decisions of one room.

    Args:
        engine: of the database.
        room: name of the room.
    """

    def __init__(self, engine: Engine, room: str) -> None:
        self.engine, self.room = engine, room_of(engine, room)

    def record(self, who: str, words: Sequence[Word]) -> list[Kept]:
        """Write down what somebody said; all of it is on the disk when this returns, or none.

        Raises:
            InputError: a key was used for another decision before.
            Unreachable: the database does not answer; nothing was written.
        """
        if not words:
            return []
        with writing(self.engine, self.room) as connection:
            there = self._known(connection, [word.key for word in words])
            votes = self._votes_on(connection, who, {word.candidate for word in words})
            now, kept = time.time(), []
            for word in words:
                said = (word.candidate, who, word.decision)
                if (new := word.key not in there) is True:
                    self._enter(connection, word, who, votes, moment(now - min(max(word.age, 0.0), OLDEST)))
                    there[word.key] = said
                elif there[word.key] != said:
                    raise InputError(f"key {word.key!r} stands for another decision: make a key for each")
                kept.append(Kept(word.key, new, votes[word.candidate].decision))
            self._release(connection, who, {word.candidate for word in words})
        return kept

    def adopt(self, decisions: Iterable[Decision]) -> int:
        """Take over those decisions of a file that are newer than what is there, and return how many; doing so twice adds none."""
        count = 0
        with writing(self.engine, self.room) as connection:
            last = {(row.candidate, row.who): row for row in connection.execute(self._of_room(VOTES))}
            for decision in decisions:
                before = last.get((decision.id, decision.who))
                when = moment(datetime.fromisoformat(decision.when)) if decision.when else ""
                if before is not None and (not when or when <= before.decided):
                    continue
                count += 1
                votes = {} if before is None else {decision.id: _Last(before.decision, before.decided, before.key)}
                self._enter(connection, Word(f"file-{uuid4()}", decision.id, decision.decision), decision.who, votes, when)
        return count

    def votes(self, who: str | None = None) -> list[Decision]:
        """Return the last word of each person on each image, of one person where asked for."""
        wanted = self._of_room(VOTES).where(VOTES.c.decision.is_not(None))
        wanted = wanted.order_by(VOTES.c.decided, VOTES.c.candidate, VOTES.c.who)
        if who is not None:
            wanted = wanted.where(VOTES.c.who == who)
        with reading(self.engine) as connection:
            return [Decision(row.candidate, row.decision, row.who, row.decided) for row in connection.execute(wanted)]

    def history(self) -> list[Entry]:
        """Return everything that was ever said, in the order in which it came."""
        with reading(self.engine) as connection:
            rows = connection.execute(self._of_room(DECISIONS).order_by(DECISIONS.c.number))
            return [Entry(row.number, row.candidate, row.decision, row.who, row.decided) for row in rows]

    def hand_out(self, who: str, order: Sequence[str], n: int, voters: int | None) -> list[str]:
        """Return up to n images for somebody, and hold them for a while, so that no more people look at one than have to.

        Args:
            who: asks.
            order: ids of all images, those first that shall be looked at first.
            n: how many.
            voters: people who shall answer about each image, where `skip` is no answer; None: everybody, and nothing is held.
        """
        with writing(self.engine, self.room) as connection:
            now = time.time()
            connection.execute(delete(LEASES).where(LEASES.c.room == self.room, LEASES.c.until < now))
            taken: Counter[str] = Counter()
            done: set[str] = set()
            mine: list[str] = []
            for row in connection.execute(self._of_room(VOTES).where(VOTES.c.decision.is_not(None))):
                done |= {row.candidate} if row.who == who else set()
                taken[row.candidate] += row.who != who and row.decision != SKIP
            for row in connection.execute(self._of_room(LEASES)):
                taken[row.candidate] += row.who != who
                mine += [row.candidate] if row.who == who else []
            free = [name for name in order if name not in done and (voters is None or name in mine or taken[name] < voters)][:n]
            self._release(connection, who, set(mine))
            if free and voters is not None:
                rows = [{"room": self.room, "candidate": name, "who": who, "until": now + LEASE} for name in free]
                connection.execute(insert(LEASES), rows)
        return free

    def _of_room(self, table: Table) -> Select[Any]:
        return select(table).where(table.c.room == self.room)

    def _known(self, connection: Connection, keys: list[str]) -> dict[str, tuple[str, str, str | None]]:
        rows = connection.execute(self._of_room(DECISIONS).where(DECISIONS.c.key.in_(keys)))
        return {row.key: (row.candidate, row.who, row.decision) for row in rows}

    def _votes_on(self, connection: Connection, who: str, candidates: set[str]) -> dict[str, _Last]:
        rows = connection.execute(self._of_room(VOTES).where(VOTES.c.who == who, VOTES.c.candidate.in_(candidates)))
        return {row.candidate: _Last(row.decision, row.decided, row.key) for row in rows}

    def _enter(self, connection: Connection, word: Word, who: str, votes: dict[str, _Last], decided: str) -> None:
        """Write a word into the history, and make it the last one if it is."""
        place = {"room": self.room, "candidate": word.candidate, "who": who}
        before = votes.get(word.candidate)
        later = before is None or before.is_followed_by(word.key, decided)
        if before is not None and later:
            decided = max(decided, before.decided)  # of one page, though the first has travelled longer
        said = {"decision": word.decision, "decided": decided, "key": word.key}
        connection.execute(insert(DECISIONS).values(**place, **said))
        if before is None:
            connection.execute(insert(VOTES).values(**place, **said))
        elif later:
            of_this = and_(*(VOTES.c[name] == value for name, value in place.items()))
            connection.execute(update(VOTES).where(of_this).values(**said))
        if later:
            votes[word.candidate] = _Last(word.decision, decided, word.key)

    def _release(self, connection: Connection, who: str, candidates: set[str]) -> None:
        held = LEASES.c.room == self.room, LEASES.c.who == who, LEASES.c.candidate.in_(candidates)
        connection.execute(delete(LEASES).where(*held))


def moment(when: float | datetime) -> str:
    """Return a time in UTC as text that sorts as time does: 2026-11-21T15:04:05.123Z."""
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
