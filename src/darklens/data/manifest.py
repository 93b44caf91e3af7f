"""The manifest of a table: what is in it, and whether it is one.

A manifest comes with a folder that somebody else may have written: nothing of it is believed before it is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.data.schema import SCHEMA_VERSION
from darklens.errors import InputError
from darklens.files import read_json

MANIFEST = "manifest.json"
PIXELS_AT_MOST = 1 << 28
"""Numbers in one image of a table, 1 GiB."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a table's manifest.

    Raises:
        InputError: it is not a table's, or of a later version of darklens.
    """
    return checked_manifest(read_json(path / MANIFEST), path)


def checked_manifest(manifest: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return a table's manifest if it is one.

    Raises:
        InputError: it lacks something, holds another kind of thing, names files outside of its folder, or is of a later version.
    """
    missing = {"schema_version", "shape", "classes", "rows", "complete", "shards"} - set(manifest)
    if missing:
        raise InputError(f"{path}/{MANIFEST} is not a table's (it lacks {', '.join(sorted(missing))}): give another folder")
    if wrong := next((key for key, right in _RIGHT.items() if not right(manifest.get(key))), None):
        value = repr(manifest.get(wrong))[:80]
        raise InputError(f"{path}/{MANIFEST} is damaged ({wrong} is {value}): restore it or make the table again")
    if manifest["schema_version"] > SCHEMA_VERSION:
        version = manifest["schema_version"]
        raise InputError(f"{path} has schema version {version}, this darklens reads up to {SCHEMA_VERSION}: update darklens")
    return manifest


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_shape(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    return all(_is_count(n) and n > 0 for n in value) and math.prod(value) <= PIXELS_AT_MOST


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_shard(value: object) -> bool:
    if not isinstance(value, dict) or not _is_count(value.get("rows")) or not isinstance(value.get("sha256"), str):
        return False
    name = value.get("file")
    return isinstance(name, str) and re.fullmatch(r"part-\d{5,}\.parquet", name) is not None


def _is_scale(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


_RIGHT: dict[str, Callable[[Any], bool]] = {
    "schema_version": _is_count,
    "shape": _is_shape,
    "classes": _are_names,
    "rows": lambda value: value is None or _is_count(value),
    "complete": lambda value: isinstance(value, bool),
    "shards": lambda value: isinstance(value, list) and all(map(_is_shard, value)),
    "pixel_scale": _is_scale,
    "units": lambda value: value is None or (isinstance(value, dict) and _are_names(list(value.values()))),
    "band_names": lambda value: value is None or _are_names(value),
}
"""Entry of a manifest -> whether a value is what darklens writes there."""
