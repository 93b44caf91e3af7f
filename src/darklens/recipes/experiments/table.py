"""The experiments by the `train.task` of a recipe. To add one, write its file beside this one and enter it here."""

from __future__ import annotations

import darklens.recipes.experiments.classification as classification
import darklens.recipes.experiments.foundation as foundation
import darklens.recipes.experiments.generation as generation
import darklens.recipes.experiments.inference as inference
import darklens.recipes.experiments.localisation as localisation
import darklens.recipes.experiments.super_resolution as super_resolution
from darklens.errors import InputError
from darklens.recipes.experiments.base import Experiment
from darklens.recipes.schema import Recipe

EXPERIMENTS: dict[str, Experiment] = {
    "classification": classification,
    "binary": classification,
    "super-resolution": super_resolution,
    "generation": generation,
    "localisation": localisation,
    "masked-autoencoder": foundation,
    "joint-embedding": foundation,
    "denoising": foundation,
    "inference": inference,
}


def experiment_of(recipe: Recipe) -> Experiment:
    """Return the experiment of a recipe's task."""
    return EXPERIMENTS[recipe.train.task]


def only_classification(recipe: Recipe, what: str) -> None:
    """Refuse a recipe of another task where only classifiers are understood.

    Raises:
        InputError: its task is another one.
    """
    if EXPERIMENTS[recipe.train.task] is not classification:
        raise InputError(f"{what} works with classifiers and recipe {recipe.name!r} is for {recipe.train.task}: choose another")
