"""What the terminal shows: sentences on stderr, results on stdout, a progress bar with a rate and an estimate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from darklens.files import plain

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    stderr.print(sentence, markup=False, soft_wrap=True)


def show_json(content: object) -> None:
    """Print JSON on stdout; numbers that JSON lacks become null."""
    sys.stdout.write(json.dumps(plain(content), indent=1) + "\n")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Give a callback (phase, done, total) that draws a bar a phase; on a pipe it draws nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                for old in tasks.values():
                    bar.update(old, visible=False)
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, total=total)

        yield update


WORDS = 24
"""Characters from which on a cell that begins with a letter is a sentence, not a value."""
GAP = 3
"""Characters between two columns."""


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout: the first column and columns of words to the left, numbers to the right.

    One that is wider than the terminal is printed in parts, each with the first column.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    words = [i == 0 or any(len(row[i]) > WORDS and row[i][0].isalpha() for row in cells) for i in range(len(columns))]
    least = [
        max(
            map(len, (*columns[i].split(), *(word for row in cells for word in (row[i].split() if words[i] else [row[i]])))),
            default=0,
        )
        for i in range(len(columns))
    ]
    natural = [max(map(len, (columns[i], *(row[i] for row in cells)))) for i in range(len(columns))]
    for k, part in enumerate(_parts(least, stdout.width)):
        drawn = RichTable(title=None if k else title, title_justify="left", show_edge=False, pad_edge=False)
        tight = sum(natural[i] + GAP for i in part) - GAP > stdout.width and len(part) > 2
        for i in part:
            justify: Literal["left", "right"] = "left" if words[i] else "right"
            drawn.add_column(columns[i], justify=justify, overflow="fold", width=least[i] if tight and not words[i] else None)
        for row in cells:
            drawn.add_row(*(Text(row[i]) for i in part))
        stdout.print(*([""] if k else []), drawn, sep="\n")


def _parts(least: list[int], width: int) -> list[list[int]]:
    """Return which columns to print together, the first with each, so that all have the room that they need at least."""
    parts, room = [[0]], width - least[0]
    for i, needed in enumerate(least[1:], start=1):
        if len(parts[-1]) > 1 and needed + GAP > room:
            parts.append([0])
            room = width - least[0]
        room -= needed + GAP
        parts[-1].append(i)
    return parts


def markdown(text: str, drawn: str | None = None) -> None:
    """Print Markdown on stdout: rendered on a terminal, as it is on a pipe.

    Args:
        text: what a pipe gets.
        drawn: what a terminal gets; `text` by default.
    """
    if not stdout.is_terminal:
        sys.stdout.write(text)
        return
    from rich.markdown import Markdown

    stdout.print(Markdown(text if drawn is None else drawn, hyperlinks=False), soft_wrap=False)


def metrics_table(title: str, named: dict[str, dict]) -> None:
    """Print headline metrics with their intervals, one column a run."""
    from darklens.evaluate.wording import format_interval, search_rows

    keys = [k for k in ("accuracy", "auc_macro", "average_precision", "loss", "ece") if any(k in m for m in named.values())]
    rows = [[key, *(format_interval(m.get(key)) for m in named.values())] for key in keys]
    rows += [[label, *map(format_interval, numbers)] for label, numbers in search_rows(named.values())]
    others = dict.fromkeys(key for m in named.values() for key in m.get("headline", []))  # of runs that tell no classes apart
    rows += [[key.replace("_", " "), *(format_interval(m.get(key)) for m in named.values())] for key in others if key not in keys]
    rows.append(["images", *(f"{m['accuracy']['n'] if 'accuracy' in m else m['n']:,}" for m in named.values())])
    table(title, ["", *named], rows)
