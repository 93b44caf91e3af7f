"""A trained network learns from newly labelled images without forgetting the old ones.

The network goes on from its weights, at a lower rate, on a mixture: images that people have labelled, repeated, among images of its
first training (rehearsal, Robins 1995). The loop is that of every training, so it resumes to the last bit, keeps to a budget, and
its result is judged on images that neither choose nor teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.models import for_trained
from darklens.runs import Run
from darklens.train.checkpoint import load_weights
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training
from darklens.train.predictor import Predictor, build_model

LIMITS = {"epochs": (1, 1000), "lr": (1e-8, 1.0), "share": (0.01, 1.0), "repeats": (1, 1000)}


@dataclass(frozen=True)
class FineTuneConfig:
    """How a network learns from new labels.

    Args:
        epochs: passes through the mixture; a budget of time may cut them.
        lr: largest rate.
        share: part of the mixture that new labels should make up.
        repeats: how often an image may come in one epoch to reach that, at most.
        start: "current" goes on from the last round, "first" from the first run each time (arXiv:1910.08475 says why one may).

    Raises:
        InputError: a value outside its limits.
    """

    epochs: int = 5
    lr: float = 5e-4
    share: float = 0.3
    repeats: int = 10
    start: str = "current"

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name} {value} is outside {low} to {high}: choose a value between")
        if self.start not in ("current", "first"):
            raise InputError(f"start {self.start!r} is not known: give current or first")

    def applied(self, train: dict[str, Any]) -> dict[str, Any]:
        """Return the `train` section of a recipe with these settings in place of those of a whole training."""
        small = {"epochs": self.epochs, "lr": self.lr, "schedule": "cosine", "early_stopping": None}
        ema = train.get("ema")
        return train | small | {"ema": None if ema is None else min(ema, 0.98)}  # few steps: a long average would hold the old


def seen(predictor: Predictor, images: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> ImageSet:
    """Return a labelled set as a predictor's network sees it; smooth lenses are fitted where it asks for that.

    Args:
        predictor: the model.
        images: `(n, bands, H, W)`, checked.
        labels: `(n,)` class indices.
        ids: `(n,)` names.
    """
    whole = ImageSet(images, labels, ids, predictor.classes)
    settings = predictor.preprocess
    inputs, chi2 = predictor.see(images)
    if chi2 is None:  # it asks for no fit
        return whole.seen_as(settings)
    fitted = {"residual": inputs[:, :1]} if settings.view == "both" else {settings.view: inputs}
    return ImageSet(images, labels, ids, predictor.classes, fitted | {"chi2": chi2}).seen_as(settings)


def mixture(labelled: ImageSet, replay: ImageSet | None, config: FineTuneConfig) -> ImageSet:
    """Return one training set: new labels, repeated to their share or as often as allowed, and images of the first training."""
    if replay is None or not len(replay):
        return labelled
    wanted = config.share / max(1 - config.share, 1e-9) * len(replay) / len(labelled)
    times = int(np.clip(round(wanted), 1, config.repeats))
    return labelled.take(np.tile(np.arange(len(labelled)), times)).joined(replay)


def fine_tune(
    run: Run,
    start: Run,
    task: Classification,
    train: ImageSet,
    validation: ImageSet,
    config: TrainConfig,
    **settings: Any,
) -> tuple[Training, dict[str, Any]]:
    """Train on from the weights of a run, into another run folder; what is there already is continued.

    Args:
        run: its folder, with recipe and `model.json`.
        start: where the weights come from.
        task: what it is asked, with the losses of the recipe.
        train: what to learn from.
        validation: sets the epoch that is kept.
        config: of the recipe's form, see `FineTuneConfig.applied`.
        **settings: of `Training`: device, budget_s, log, progress.

    Returns:
        The training and its final state.

    Raises:
        WorkError: the loss is not finite any more.
    """
    described = start.model
    model = build_model(described | {"options": for_trained(described["options"])}, task.outputs)
    model.load_state_dict(load_weights(start.weights))
    preprocess = Preprocess.model_validate(described["preprocess"])
    training = Training(run, model, task, train, validation, config, preprocess, **settings)
    return training, training.fit()
