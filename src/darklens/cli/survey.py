"""The survey side of predict: which outputs mean a survey, and how its progress is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.train.answers import Judge

SECONDS_BETWEEN_LINES = 30.0
PASSED = 5
"""Files that were passed over and are named in the terminal."""


def is_survey(out: str | None, asked: dict[str, Any]) -> TypeGuard[str]:
    """Say whether scores go to a folder in parts; `asked` are the options that only a survey has.

    Raises:
        InputError: such an option with an output that is no folder.
    """
    folder = out is not None and ("://" in out or out.endswith("/") or Path(out).suffix == "" or Path(out).is_dir())
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value is not None]
    if given and not folder:
        raise InputError(f"{given[0]} is for a survey, whose scores fill a folder, and --out is {out}: give a folder or a URL")
    return folder


def score_survey(
    judge: Judge,
    path: str,
    out: str,
    *,
    keep: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score a survey and say what came of it; options as of `darklens.api.score`."""
    from darklens import api, console

    kept = [name.strip() for name in (keep or "").split(",") if name.strip()]
    with _progress(f"scoring {path}") as progress:
        found = api.score(judge, path, out, keep=kept, progress=progress, **options)
    if as_json:
        return console.show_json(found)
    say_passed_over(found["passed_over"])
    for line in found["noticed"]:
        console.say(line)
    if found["bad"] and not found["rows"]:
        raise nothing_scored(path, out)
    parts = "1 part" if found["parts"] == 1 else f"{found['parts']:,} parts"
    console.say(f"{found['rows']:,} images in {parts}, {found['bad']:,} could not be scored: {out}")
    if found["bad"]:
        console.say(f"why they could not is in {out.rstrip('/')}/bad")
    return None


def say_passed_over(passed: dict[str, Any]) -> None:
    """Name what lay among the images and is none, or lacks a band."""
    from darklens import console
    from darklens.data.scores import SCORES

    for path, why in passed["first"][:PASSED]:
        console.say(f"passed over {path}: {why}")
    if passed["files"] > PASSED:
        console.say(f"... and {passed['files'] - PASSED:,} more; {SCORES} names the first of them")


def nothing_scored(path: str, out: str) -> InputError:
    """Build the error for a survey of which no image suits the run; the side table, which has every reason, stays."""
    from darklens.data.scores import read_bad

    bad = read_bad(out)
    name, reason = bad["source"][0].as_py(), bad["reason"][0].as_py()
    return InputError(f"none of the {len(bad):,} images of {path} could be scored, the first is {name}, which {reason}")


@contextmanager
def _progress(phase: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callback (done, total): a bar on a terminal, a line now and then in the log of a batch job."""
    from darklens import console

    if not console.stderr.is_terminal:
        yield _lines(phase, console.say)
        return
    with console.progress_bar() as bar:
        yield lambda done, total: bar(phase, done, total)


def _lines(phase: str, say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a callback (done, total) that says rate and estimate now and then."""
    began = last = time.monotonic()
    first: int | None = None

    def update(done: int, total: int) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done if first is None else first
        if now - last < SECONDS_BETWEEN_LINES or done == first:
            return
        last, rate = now, (done - first) / (now - began)
        say(f"{phase}: {done:,} of {total:,} ({done / total:.1%}), {rate:,.0f}/s, {(total - done) / rate / 60:,.0f} min left")

    return update
