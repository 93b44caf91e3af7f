"""From images to posteriors of numbers: where they live, what learns them, what asks them."""

from darklens.train.inference.estimator import Estimator
from darklens.train.inference.image_set import FreshParameters, ParameterSet, seen
from darklens.train.inference.space import ParameterSpace
from darklens.train.inference.task import Inference

__all__ = ["Estimator", "FreshParameters", "Inference", "ParameterSet", "ParameterSpace", "seen"]
