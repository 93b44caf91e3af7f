"""Which recipes come with darklens: names and summaries, read from the YAML files alone, so that listing them is quick."""

from __future__ import annotations

from pathlib import Path

from darklens.files import read_yaml

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the recipes that come with darklens."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def summaries() -> dict[str, str]:
    """Return recipe -> what it is, in a line."""
    return {name: read_yaml(FOLDER / f"{name}.yaml").get("summary", "") for name in names()}
