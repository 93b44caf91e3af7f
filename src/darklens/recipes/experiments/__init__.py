"""What a task needs around its training: one file each, found by the `train.task` of a recipe."""

from darklens.recipes.experiments.base import Experiment, common
from darklens.recipes.experiments.table import EXPERIMENTS, experiment_of, only_classification

__all__ = ["EXPERIMENTS", "Experiment", "common", "experiment_of", "only_classification"]
