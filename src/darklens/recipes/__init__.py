"""Experiments as YAML files, one schema, and their execution."""

from darklens.recipes.execute import execute, resume
from darklens.recipes.schema import DataConfig, ModelConfig, Recipe, load, names, validate
from darklens.recipes.seeds import execute_seeds, seeds_of
from darklens.recipes.splits import Splits, prepare

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
