"""Classes: calibration on validation images, what the images are like, and the test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import nn

from darklens.models.encoder_classifier import EncoderClassifier
from darklens.recipes.experiments.base import common
from darklens.recipes.schema import Recipe
from darklens.recipes.splits import LabelledSplits, prepare
from darklens.runs import Run
from darklens.train.columns import scales
from darklens.train.config import Preprocess
from darklens.train.evaluation import calibrate, evaluate_test, learn_novelty
from darklens.train.fresh import FreshImages
from darklens.train.loop import Training
from darklens.train.physics import believes, evaluate_physics
from darklens.train.predictor import Predictor, build_model
from darklens.train.probe_head import begin_with_probe

__all__ = ["build", "describe", "finish", "prepare"]


def describe(recipe: Recipe, splits: LabelledSplits) -> dict[str, Any]:
    """Return `model.json`: what a predictor has to know besides the weights."""
    task, counts = asdict(splits.task), splits.train.counts
    stored = splits.validation if isinstance(splits.train, FreshImages) else splits.train
    columns = {name: stored.columns[name] for name in recipe.preprocess.columns}
    return (
        common(recipe, splits)
        | {
            "classes": list(task["classes"]),
            "group": task["group"],
            "single_logit": task["single_logit"],
            "offsets": list(task["offsets"]),
            "prior": {name: count / sum(counts.values()) for name, count in counts.items()},
        }
        | ({"fit": splits.plan.as_dict()} if splits.plan and recipe.preprocess.input != "image" else {})
        | ({"columns": scales(columns)} if columns else {})
    )


def build(described: dict[str, Any], splits: LabelledSplits) -> nn.Module:
    """Return the network, with as many outputs as the task needs, and with a last layer from the start where it asks for one."""
    model = build_model(described, splits.task.outputs)
    if isinstance(model, EncoderClassifier) and model.probe:
        settings = Preprocess.model_validate(described["preprocess"])
        begin_with_probe(model, splits.train.seen_as(settings), settings)
    return model


def finish(run: Run, training: Training, splits: LabelledSplits, log: Callable[[str], None]) -> None:
    """Calibrate, learn what the images are like, and look at the test images once."""
    predictor = Predictor(run, training.fabric.device.type)
    calibrate(predictor, splits.validation)
    learn_novelty(predictor, splits.train, splits.validation)
    evaluate_test(predictor, splits.test, splits.card)
    if believes(predictor):
        found = evaluate_physics(predictor, splits.test, splits.card)
        if found:
            log(f"the network's Einstein radii are off by {100 * found['theta_E']['error']['value']:.2g}% in the mean")
