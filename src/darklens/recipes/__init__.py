"""Experiments as YAML files, one schema, and their execution."""

from darklens.recipes.execute import execute, resume
from darklens.recipes.schema import DataConfig, ModelConfig, Recipe, load, names, validate
from darklens.recipes.splits import Splits, prepare

__all__ = ["DataConfig", "ModelConfig", "Recipe", "Splits", "execute", "load", "names", "prepare", "resume", "validate"]
