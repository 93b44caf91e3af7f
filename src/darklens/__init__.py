"""darklens: from images of strong gravitational lenses to statements about dark matter.

The names here are the Python interface; they load what they need when they are first used, so that `import darklens` is light.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darklens.api import (
        Campaign,
        TrainedRun,
        adapt,
        calibrate,
        candidates,
        card,
        compare,
        demo,
        drift,
        embed,
        enhance,
        ensemble,
        evaluate,
        explain,
        export,
        fit,
        generate,
        infer,
        inject,
        limit,
        load,
        localise,
        open_run,
        report,
        score,
        serve,
        similar,
        simulate,
        train,
        walk,
    )
    from darklens.data import Table, cutouts
    from darklens.errors import DarklensError, InputError, WorkError
    from darklens.runs import Run

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(
        (
            "Campaign",
            "TrainedRun",
            "adapt",
            "calibrate",
            "candidates",
            "card",
            "compare",
            "demo",
            "drift",
            "embed",
            "enhance",
            "ensemble",
            "export",
            "generate",
            "inject",
            "limit",
            "load",
            "localise",
            "open_run",
            "score",
            "walk",
            "similar",
        ),
        "darklens.api",
    ),
    **dict.fromkeys(("DarklensError", "InputError", "WorkError"), "darklens.errors"),
    "Run": "darklens.runs",
    **dict.fromkeys(("Table", "cutouts"), "darklens.data"),
}

__all__ = [
    "Campaign",
    "DarklensError",
    "InputError",
    "Run",
    "Table",
    "TrainedRun",
    "WorkError",
    "adapt",
    "calibrate",
    "candidates",
    "card",
    "compare",
    "cutouts",
    "demo",
    "drift",
    "embed",
    "enhance",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "fit",
    "generate",
    "infer",
    "inject",
    "limit",
    "load",
    "localise",
    "open_run",
    "report",
    "score",
    "serve",
    "similar",
    "simulate",
    "train",
    "walk",
]


ROOMS = ("evaluate", "explain", "fit", "infer", "report", "serve", "simulate", "train")
"""Rooms whose name is also that of a function of the interface: `darklens.simulate("model-iii", n=300)` calls the function, and
`darklens.simulate.render` lies in the room."""


class _Room(ModuleType):
    """A sub-package that can be called: it hands the call to the function of its name in `darklens.api`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module("darklens.api"), self.__name__.rpartition(".")[2])(*args, **options)


class _Package(ModuleType):
    """Makes rooms callable when the import system binds them."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in ROOMS:
        return importlib.import_module(f"darklens.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'darklens' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
