"""Images out of noise: what is told about them, the map of their pixel values, and what new ones are like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from darklens.data import Table
from darklens.errors import InputError
from darklens.fit import Plan
from darklens.fit.noise import Linear
from darklens.fit.request import Request
from darklens.fit.table import fit_table, fitted_parameters
from darklens.models import architecture
from darklens.recipes.experiments.base import Log, Progress, common
from darklens.recipes.schema import SPLITS, Recipe
from darklens.recipes.splits import Splits, data_card, tables, without_copies
from darklens.runs import Run
from darklens.train.config import Preprocess
from darklens.train.config_generation import GenerationConfig
from darklens.train.generation.conditions import Conditions
from darklens.train.generation.evaluation import evaluate_generator
from darklens.train.generation.generator import Generator, build_generator, save_told
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.generation.intensity import Intensity
from darklens.train.generation.process import Process
from darklens.train.generation.smooth_lenses import Backdrop, SmoothLenses
from darklens.train.generation.task import Generation
from darklens.train.loop import Training
from darklens.train.preprocess import prepare as prepared

SOFTENING = 3.0
"""What a smooth lens leaves over is seen as asinh(residual / this), in units of the noise: noise stays as it is, a failed fit gets
small."""
GEOMETRY = ("dihedral", "rotate90", "flip")
"""Augmentations that leave an image what it is; of the others a generator would learn that images are like that."""

ImageSplits = Splits[Generation, ConditionedImages, ConditionedImages]


def prepare(recipe: Recipe, folder: Path, log: Log, progress: Progress) -> ImageSplits:
    """Simulate or read images, and find out what can be told about them and how their noise can be made even.

    Raises:
        InputError: settings that would change what a generator learns, or data that it cannot learn from.
    """
    _check(recipe)
    settings = recipe.generation or GenerationConfig()
    parts = tables(recipe, folder, log, progress)
    sets = {name: ConditionedImages.from_table(table, rows) for name, (table, rows) in parts.items()}
    first = parts["train"][0]
    plan = _plan(recipe, first, log)
    if settings.smooth_lens:
        fitting = _checked(recipe, plan)
        sets = {name: _with_smooth(images, *parts[name], fitting, name, log, progress) for name, images in sets.items()}
    sets, removed = without_copies(sets)
    if removed:
        log(f"{removed} training images are copies of validation or test images and were left out")
    units = first.manifest.get("units") or {}
    classes = sets["train"].classes if settings.classes else ()
    conditions = Conditions.measured(classes, sets["train"].truth, settings.conditions, units)
    missing = sorted(set(settings.conditions) - {column.name for column in conditions.columns})
    if missing:
        log(f"not conditioned on {', '.join(missing)}: the training images do not say it, or it is the same in all")
    _check_network(recipe, conditions, settings.smooth_lens)
    intensity, backdrop = _intensity(recipe, settings, sets["train"], plan)
    task = Generation(Process(settings.process), intensity, conditions, settings.dropout, backdrop)
    sets = {name: images.with_conditions(conditions) for name, images in sets.items()}
    card = data_card(recipe.data, first, {name: (parts[name][0], sets[name]) for name in SPLITS}, removed)
    return Splits(task, sets["train"], sets["validation"], sets["test"], card, plan)


def _check(recipe: Recipe) -> None:
    seen = recipe.preprocess
    if seen != Preprocess(normalise="none", crop=seen.crop, bin=seen.bin):
        raise InputError(
            "a generator sees images in physical units, and its own map of the intensities is stored in the run: "
            "set preprocess to {normalise: none}, with crop and bin at most"
        )
    if others := sorted(set(recipe.train.augment) - set(GEOMETRY)):
        raise InputError(
            f"train.augment {', '.join(others)} changes what a generator learns to make: leave only {', '.join(GEOMETRY)}"
        )
    if recipe.data.fresh:
        raise InputError("a generator is compared with the images that it was trained on, and data.fresh keeps none: leave it out")


def _check_network(recipe: Recipe, conditions: Conditions, smooth_lens: bool) -> None:
    for one in recipe.single():
        if conditions.size and "parameters" not in inspect.signature(architecture(one.model.name)).parameters:
            raise InputError(
                f"model {one.model.name!r} cannot be told what an image shall be: "
                "set generation.conditions=[] and generation.classes=false, or take lens-diffusion"
            )
        if smooth_lens and "context" not in inspect.signature(architecture(one.model.name)).parameters:
            raise InputError(f"model {one.model.name!r} cannot see a smooth lens: set generation.smooth_lens=false")


def _plan(recipe: Recipe, table: Table, log: Log) -> Plan | None:
    """Return how smooth lenses are fitted to the images, None where nothing says how."""
    if recipe.preprocess.bin > 1 or table.shape[0] > 1:
        log("no lenses are fitted to generated images: the images are binned or have several bands")
        return None
    try:
        return Request(**recipe.fit.model_dump()).plan(table.images(np.arange(min(5, len(table)))), table.manifest)
    except InputError as error:
        log(f"no lenses are fitted to generated images: {error}")
        return None


def _checked(recipe: Recipe, plan: Plan | None) -> Plan:
    """Return how the smooth lenses are fitted that images are made around; refuse images where that cannot be."""
    remedy = "set generation.smooth_lens=false, or give fit.instrument or fit.preset"
    if plan is None or recipe.preprocess.crop:
        raise InputError(f"generation.smooth_lens fits a smooth lens to whole images of one band, and these cannot be: {remedy}")
    if not isinstance(plan.noise, Linear):
        raise InputError(
            f"generation.smooth_lens needs noise that is the same for all images, and this is {type(plan.noise).__name__}: {remedy}"
        )
    return plan


def _with_smooth(
    images: ConditionedImages, table: Table, rows: np.ndarray, plan: Plan, name: str, log: Log, progress: Progress
) -> ConditionedImages:
    """Return a set with the smooth lenses of its images, fitted once a table."""
    fits = fit_table(table, plan, progress=lambda done, total: progress(f"fitting smooth lenses, {name}", done, total))
    lenses, found = fitted_parameters(fits, plan, rows), fits.column("fit_converged")[rows] > 0
    log(f"{name}: {len(rows)} smooth lenses fitted ({plan.model.name}), {int((~found).sum())} did not converge")
    smooth = plan.render(lenses, images.shape[1:])[:, None]
    return replace(images, smooth=smooth, lenses=np.where(found[:, None], lenses, np.nan))


def _intensity(
    recipe: Recipe, settings: GenerationConfig, images: ConditionedImages, plan: Plan | None
) -> tuple[Intensity, Backdrop | None]:
    """Return the map of what the network makes, and what it sees of smooth lenses, both measured on training images."""
    some = images.take(np.arange(0, len(images), max(1, len(images) // 2048)))
    seen = prepared(torch.from_numpy(some.images), recipe.preprocess).numpy()
    variance = _variance(plan, seen)
    if some.smooth is None:
        return Intensity.measured(settings.intensity, seen, variance), None
    assert variance is not None, "smooth lenses were fitted by a plan, which knows the noise"
    backdrop = Backdrop(*variance, Intensity.measured(settings.intensity, some.smooth, variance))
    residual = backdrop.residual(torch.from_numpy(some.images), torch.from_numpy(some.smooth)).numpy()
    return Intensity.measured("asinh", residual, (SOFTENING**2, 0.0), noise=1.0), backdrop


def _variance(plan: Plan | None, images: np.ndarray) -> tuple[float, float] | None:
    """Return `v0` and `v1` of the noise of typical images, None where nobody knows them."""
    if plan is None:
        return None
    v0, v1 = plan.noise.variance(images[:256, 0])
    return float(np.median(v0)), float(np.median(v1))


def describe(recipe: Recipe, splits: ImageSplits) -> dict[str, Any]:
    """Return `model.json`: what a generator has to know besides the weights."""
    return (
        common(recipe, splits)
        | {
            "conditions": splits.task.conditions.as_dict(),
            "intensity": splits.task.intensity.as_dict(),
            "generation": (recipe.generation or GenerationConfig()).model_dump(),
            "preset": splits.card["preset"],
        }
        | ({"backdrop": splits.task.backdrop.as_dict()} if splits.task.backdrop else {})
        | ({"fit": splits.plan.as_dict()} if splits.plan else {})
    )


def build(described: dict[str, Any], splits: ImageSplits) -> nn.Module:
    """Return the network, with as many conditions as can be told."""
    return build_generator(described)


def finish(run: Run, training: Training, splits: ImageSplits, log: Callable[[str], None]) -> None:
    """Generate as many images as shall be judged, and measure them beside real ones."""
    made_around = splits.plan if splits.task.backdrop else None
    density = partial(SmoothLenses.measured, made_around, splits.task.conditions) if made_around else None
    save_told(run, splits.train, density)
    generator = Generator(run, training.fabric.device.type)
    sets = splits.train, splits.validation, splits.test
    evaluate_generator(generator, *sets, splits.plan, splits.card, log=log, progress=training.progress)
