"""Experiments as YAML files, one schema, and their execution.

The names here load what they need when they are first used: what recipes there are (`darklens.recipes.catalogue`) is known at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darklens.recipes.catalogue import names
    from darklens.recipes.execution import execute, resume
    from darklens.recipes.schema import DataConfig, ModelConfig, Recipe, load, validate
    from darklens.recipes.seeds import execute_seeds, seeds_of
    from darklens.recipes.splits import Splits, prepare

_HOME = {
    "names": "catalogue",
    **dict.fromkeys(("execute", "resume"), "execution"),
    **dict.fromkeys(("DataConfig", "ModelConfig", "Recipe", "load", "validate"), "schema"),
    **dict.fromkeys(("execute_seeds", "seeds_of"), "seeds"),
    **dict.fromkeys(("Splits", "prepare"), "splits"),
}

__all__ = [
    "DataConfig",
    "ModelConfig",
    "Recipe",
    "Splits",
    "execute",
    "execute_seeds",
    "load",
    "names",
    "prepare",
    "resume",
    "seeds_of",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
