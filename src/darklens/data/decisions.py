"""What people decided about images: a CSV file with the columns id, decision, who, when.

A decision is one of the classes, or `maybe` (looked at, cannot say), or `skip` (not looked at, or not usable). Somebody who decides
again about an image replaces what they said before. An image gets the label that more people gave than any other answer, `maybe`
included; where two answers have equally many voices it has none, and is reported as a conflict. Nobody is asked about it again.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from darklens.errors import InputError, nearest
from darklens.files import unreadable, write_atomic

MAYBE, SKIP = "maybe", "skip"
COLUMNS = ("id", "decision", "who", "when")
"""Of the sheet that people decide in: a class, `maybe` or `skip`; by whom; when (ISO 8601)."""


@dataclass(frozen=True)
class Decision:
    """What somebody said of an image.

    Args:
        id: of the image.
        decision: a class, `maybe` or `skip`.
        who: said so; empty where nobody signed.
        when: ISO 8601; empty where unknown.
    """

    id: str
    decision: str
    who: str = ""
    when: str = ""


@dataclass(frozen=True)
class Settled:
    """What all decisions together say.

    Args:
        labels: id -> class.
        aside: id -> `maybe` or `skip`: not trained on.
        conflicts: id -> answer -> voices, where two answers have equally many.
    """

    labels: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, dict[str, int]] = field(default_factory=dict)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Return how many images have each class, are set aside, or are in conflict."""
        found = Counter(self.labels.values()) + Counter(self.aside.values())
        return {name: found[name] for name in (*classes, MAYBE, SKIP)} | {"conflicts": len(self.conflicts)}


def read_decisions(
    path: str | Path, known: Container[str] | None, classes: Sequence[str], *, may_be_empty: bool = False
) -> list[Decision]:
    """Read a file of decisions; rows without one are images still to be decided about.

    Args:
        path: CSV file with the columns id and decision, and who and when where they are known.
        known: ids of the pool; None takes any.
        classes: what an image may be.
        may_be_empty: take a sheet in which nothing is decided yet.

    Raises:
        InputError: no readable file, a missing column, or, with its line number, an id that the pool does not have, a word that
            is no decision, or a time that is none.
    """
    path = Path(path)
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    missing = [name for name in COLUMNS[:2] if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]!r}: the first line of a file of decisions is {','.join(COLUMNS)}")
    found = []
    try:
        for row in rows:
            values = {name: (row.get(name) or "").strip() for name in COLUMNS}
            if values["decision"]:
                found.append(_checked(Decision(**values), f"{path}, line {rows.line_num}", known, classes))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; write it as plain CSV") from error
    if not found and not may_be_empty:
        raise InputError(f"{path} holds no decision: fill in its column decision with {_words(classes)}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: save the decisions as plain CSV") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _checked(decision: Decision, where: str, known: Container[str] | None, classes: Sequence[str]) -> Decision:
    if known is not None and decision.id not in known:
        raise InputError(f"{where}: id {decision.id!r} is not in the pool of this campaign; take ids from its queue.csv")
    if decision.decision not in (*classes, MAYBE, SKIP):
        close = nearest(decision.decision, (*classes, MAYBE, SKIP))
        hint = f"did you mean {close!r}? " if close else ""
        raise InputError(f"{where}: {decision.decision!r} is no decision; {hint}write {_words(classes)}")
    try:
        _time(decision)
    except ValueError as error:
        raise InputError(f"{where}: {decision.when!r} is no time; write it as 2026-11-21T15:04:05Z or leave it empty") from error
    return decision


def _words(classes: Sequence[str]) -> str:
    return ", ".join((*classes, MAYBE)) + f" or {SKIP}"


def _time(decision: Decision) -> datetime | None:
    if not decision.when:
        return None
    time = datetime.fromisoformat(decision.when)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def merged(old: Iterable[Decision], new: Iterable[Decision]) -> list[Decision]:
    """Return the last word of each person on each image; where both words have a time the later one counts, else the later read."""
    last: dict[tuple[str, str], Decision] = {}
    for decision in (*old, *new):
        key = decision.id, decision.who
        before, now = (_time(last[key]), _time(decision)) if key in last else (None, None)
        if before is None or now is None or now >= before:
            last[key] = decision
    return list(last.values())


def settle(decisions: Iterable[Decision]) -> Settled:
    """Return what the decisions say of each image; `skip` has no voice where anybody said anything else."""
    voices: dict[str, Counter] = {}
    for decision in decisions:
        voices.setdefault(decision.id, Counter())[decision.decision] += 1
    found = Settled()
    for name, of_one in voices.items():
        ranked = Counter({k: n for k, n in of_one.items() if k != SKIP}).most_common()
        if not ranked:
            found.aside[name] = SKIP
        elif len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            found.conflicts[name] = dict(ranked)
        elif ranked[0][0] == MAYBE:
            found.aside[name] = MAYBE
        else:
            found.labels[name] = ranked[0][0]
    return found


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write a file of decisions, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([d.id, d.decision, d.who, d.when] for d in decisions)
    write_atomic(path, buffer.getvalue())
