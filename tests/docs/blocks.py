"""The code blocks of the documentation, as the tests see them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEST = re.compile(r"<!-- notest: (.+?) -->")
_FENCE = re.compile(r"(?:^<!-- notest: (?P<why>.+?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(darklens .+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: bash, python, yaml, math or text.
        code: its lines.
        why_not: why it is not executed; None where it is.
    """

    language: str
    code: str
    why_not: str | None


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    return [Block(found["language"], found["code"], found["why"]) for found in _FENCE.finditer(page.read_text())]


def commands(page: Path) -> list[list[str]]:
    """Return the words of every `darklens` command of a page, in fenced bash blocks and in indented ones, without remarks."""
    lines = [line for block in blocks(page) if block.language == "bash" for line in block.code.replace("\\\n", " ").splitlines()]
    lines += _INDENTED.findall(_FENCE.sub("", page.read_text()))
    lines = [re.split(r"\s{3,}|\s#\s|\\$", line)[0].removeprefix("srun ") for line in lines]
    return [shlex.split(line)[1:] for line in lines if line.startswith("darklens ")]


def name_of(page: Path) -> str:
    """Return what to call a page."""
    return str(page.relative_to(ROOT))
