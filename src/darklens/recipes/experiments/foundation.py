"""Learning without labels: masked autoencoder, joint embedding or denoiser, judged by what its vectors are good for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from darklens.errors import InputError
from darklens.recipes.experiments.base import common
from darklens.recipes.schema import Recipe
from darklens.recipes.splits import UNLABELLED, Splits
from darklens.recipes.splits import prepare as prepare_labelled
from darklens.runs import Run
from darklens.train.config import TrainConfig
from darklens.train.config_foundation import FoundationConfig
from darklens.train.denoising import Denoising
from darklens.train.embedder import Embedder
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.joint_embedding import JointEmbedding
from darklens.train.loop import Training
from darklens.train.masked_autoencoder import MaskedAutoencoding
from darklens.train.predictor import build_model
from darklens.train.unlabelled_evaluation import Task, evaluate_unlabelled

KEPT = ("dihedral", "rotate90", "flip", "rotate", "shift")
"""Words of `train.augment` that mean something here; a joint embedding blurs its views and adds noise by settings of its own."""
OF_LABELS = ("imbalance", "label_smoothing", "auxiliary")
"""Settings of `train` that do not."""
UnlabelledSplits = Splits[Task, ImageSet | FreshImages, ImageSet]


def prepare(
    recipe: Recipe, folder: Path, log: Callable[[str], None], progress: Callable[[str, int, int], None]
) -> UnlabelledSplits:
    """Simulate or read the images; labels are kept for the judgement afterwards, and no training looks at them."""
    _check(recipe)
    task = _task(recipe)
    splits = prepare_labelled(recipe, folder, log, progress)
    return Splits(task, splits.train, splits.validation, splits.test, _card(splits.card), splits.plan)


def _check(recipe: Recipe) -> None:
    """Refuse settings that mean nothing without labels, or beside images."""
    task = recipe.train.task
    if strange := [word for word in recipe.train.augment if word not in KEPT]:
        raise InputError(f"train.augment has {strange[0]!r}, which {task} does not do: use {', '.join(KEPT)} alone")
    for name in OF_LABELS:
        if getattr(recipe.train, name) != TrainConfig.model_fields[name].default:
            raise InputError(f"train.{name} is about labels, and {task} learns without them: leave it out")


def _card(card: dict[str, Any]) -> dict[str, Any]:
    """Return the data card without the class of unlabelled images where there are none."""
    parts = card["splits"].values()
    if any(part["counts"].get(UNLABELLED) for part in parts):
        return card
    for part in parts:
        part["counts"].pop(UNLABELLED, None)
    return card | {"classes": [name for name in card["classes"] if name != UNLABELLED]}


def _task(recipe: Recipe) -> Task:
    settings = recipe.foundation or FoundationConfig()
    if recipe.train.task == JointEmbedding.kind:
        return JointEmbedding(settings)
    if recipe.train.task == Denoising.kind:
        if any(one.preprocess.input != "residual" or one.preprocess.bin > 1 for one in recipe.single()):
            raise InputError(
                "a denoiser splits noise that is known, that of a fitted residual: set preprocess.input=residual, without bin"
            )
        return Denoising(settings.split)
    inputs = {one.preprocess.input for one in recipe.single()}
    known = inputs <= {"residual", "both"}
    if not known and inputs & {"residual", "both"} and settings.loss == "noise":
        raise InputError(
            f"recipe {recipe.name!r} has networks with and without residuals: give each preprocess.input its own recipe"
        )
    return MaskedAutoencoding(settings.loss, known)


def describe(recipe: Recipe, splits: UnlabelledSplits) -> dict[str, Any]:
    """Return `model.json`: what an embedder has to know besides the weights."""
    settings = (recipe.foundation or FoundationConfig()).model_dump()
    fit = {"fit": splits.plan.as_dict()} if splits.plan and recipe.preprocess.input != "image" else {}
    return common(recipe, splits) | {"foundation": settings} | fit


def build(described: dict[str, Any], splits: UnlabelledSplits) -> nn.Module:
    """Return the network."""
    return build_model(described, 1)


def finish(run: Run, training: Training, splits: UnlabelledSplits, log: Callable[[str], None]) -> None:
    """Look at the test images once: how well hidden pixels are guessed, what a linear layer makes of the vectors."""
    embedder = Embedder(run, training.fabric.device.type)
    probe = run.model["foundation"]["probe"]
    metrics = evaluate_unlabelled(embedder, splits.task, splits.train, splits.test, probe=probe, unlabelled=UNLABELLED)
    run.write("metrics", metrics)
    if "probe_accuracy" in metrics:
        found = metrics["probe_accuracy"]
        log(f"a linear layer on the frozen vectors, {metrics['probe_labels']} labels: accuracy {found['value']:.4f} on test images")
