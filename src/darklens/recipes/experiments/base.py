"""What an experiment is, and what all of them write into `model.json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from darklens.recipes.schema import Recipe
from darklens.recipes.splits import Splits
from darklens.runs import Run
from darklens.train.loop import Training

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]


class Experiment(Protocol):
    """A file of this package: four functions, in the order in which they are called.

    The splits that they pass on are of a task and of sets of its own, which `darklens.recipes.splits.Splits` is generic in.
    """

    def prepare(self, recipe: Recipe, folder: Path, log: Log, progress: Progress) -> Splits:
        """Simulate or read what an effective recipe asks for, into `folder`; what is there already is used again.

        The recipe may have several networks; the sets become theirs by `seen_as`. The card has `splits` with `rows` and
        `checksum` of each, `pixel_scale` and `flux_unit`.
        """

    def describe(self, recipe: Recipe, splits: Splits) -> dict[str, Any]:
        """Return `model.json`, what is needed besides the weights to use the network: `common` and the task's own."""

    def build(self, described: dict[str, Any], splits: Splits) -> nn.Module:
        """Return the network that `model.json` describes, with fresh weights."""

    def finish(self, run: Run, training: Training, splits: Splits, log: Log) -> None:
        """Do what follows a training, in the first process: look at the test images once, write figures, and `metrics` last."""


def common(recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """Return what `model.json` says of a network of any task."""
    return {
        "task": recipe.train.task,
        "name": recipe.model.name,
        "options": recipe.model.options,
        "seed": recipe.train.seed,
        "shape": list(splits.train.shape),
        "band_names": splits.card.get("band_names"),
        "pixel_scale": splits.card["pixel_scale"],
        "flux_unit": splits.card["flux_unit"],
        "preprocess": recipe.preprocess.model_dump(),
        "symmetries": recipe.train.symmetries,
        "torch": torch.__version__,
    }
