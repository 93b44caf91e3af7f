"""Cards: fixed questions about a model or a table of images, with the answers that are on record.

A card is data (`Card`), written as Markdown by one template. Which questions stand in it does not depend on the answers: a question
without one says "not recorded".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from darklens.report.page import INSTRUMENT, NOT_RECORDED

DIGITS = 6
"""Significant ones of a number that has no interval."""


@dataclass(frozen=True)
class Grid:
    """An answer in rows and columns.

    Args:
        columns: their titles.
        rows: of cells, as they are to be read.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Answer = str | tuple[str, ...] | Grid
"""A paragraph, a list of sentences, or a table."""


@dataclass(frozen=True)
class Section:
    """Questions that belong together.

    Args:
        title: of the section.
        questions: with their answers, in order; a question may have several answers, one after the other.
    """

    title: str
    questions: tuple[tuple[str, tuple[Answer, ...]], ...]


@dataclass(frozen=True)
class Card:
    """A whole card.

    Args:
        title: heading.
        summary: one line below it.
        sections: the questions.
        front: what stands before the heading as YAML, for model hubs; empty for none.
    """

    title: str
    summary: str
    sections: tuple[Section, ...]
    front: Mapping[str, Any] = field(default_factory=dict)

    def markdown(self, *, front: bool = True) -> str:
        """Return the card as Markdown, with or without what hubs read before the heading."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=False,  # Markdown, not HTML: `safe` takes care of what users supply
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"safe_text": safe, "cell": lambda text: safe(text).replace("|", "\\|").replace("\n", " ")}
        header = yaml.safe_dump(dict(self.front), sort_keys=False, allow_unicode=True) if front and self.front else ""
        text = environment.get_template("card.md").render(card=self, header=header, kind=_kind)
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def question(text: str, *answers: Answer | None) -> tuple[str, tuple[Answer, ...]]:
    """Return a question with those of its answers that are there; without any it says so."""
    there = tuple(answer for answer in answers if answer and not (isinstance(answer, Grid) and not answer.rows))
    return text, there or (NOT_RECORDED,)


def said(words: str, fact: object) -> str | None:
    """Return a fact in words, `"{} images"`; None where there is none."""
    return None if fact in (None, "", [], {}) else words.format(fact)


def safe(text: str) -> str:
    """Return text that users supplied as it can stand in Markdown: no HTML and no link, but in code, where neither is read."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [part.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(") for part in parts[::2]]
    return "".join(parts)


def command(text: str) -> str:
    """Return a command line as code."""
    return "`" + text.replace("`", "'") + "`"


def number(value: float | int | None, unit: str = "") -> str:
    """Return a number as it is read, with its unit; a dash for none."""
    if value is None:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.{DIGITS}g}"
    return f"{text} {unit}".rstrip()


def plain(value: object) -> str:
    """Return a setting as it is read."""
    if isinstance(value, list | tuple):
        return " + ".join(map(plain, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def instrument(about: Mapping[str, Any] | None) -> str | None:
    """Say which instrument it was, from a manifest's or a data card's entry."""
    if not about:
        return None
    told = [words.format(about[key]) for key, words in INSTRUMENT.items() if about.get(key) not in (None, "")]
    return ", ".join([str(about.get("name", "unnamed")), *told])


def cosmology(about: Mapping[str, Any] | None) -> str | None:
    """Say which cosmology it was."""
    return ", ".join(f"{key} {value}".removeprefix("name ") for key, value in about.items()) if about else None


def size(shape: Iterable[int] | None, pixel_scale: float | None) -> str | None:
    """Say how large the images are, in pixels and on the sky."""
    if not shape:
        return None
    bands, height, width = shape
    field = (
        f'; {pixel_scale:g}" a pixel, {width * pixel_scale:.3g}" × {height * pixel_scale:.3g}" on the sky' if pixel_scale else ""
    )
    return f"{bands} band{'s' if bands > 1 else ''}, {height} × {width} pixels{field}"


def counts(by_split: Mapping[str, Mapping[str, int]], classes: Iterable[str]) -> Grid:
    """Return how many images each split has of each class."""
    names = tuple(classes)
    rows = tuple(
        (split, *(number(int(of.get(name, 0))) for name in names), number(int(sum(of.values())))) for split, of in by_split.items()
    )
    return Grid(("split", *names, "all"), rows)


def _kind(answer: Answer) -> str:
    return "grid" if isinstance(answer, Grid) else "list" if isinstance(answer, tuple) else "text"
