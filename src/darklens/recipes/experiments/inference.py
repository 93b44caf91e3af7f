"""Posteriors of numbers: images whose parameters are known, what a network sees of them, and the test images, once."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from darklens.data import Table
from darklens.errors import InputError
from darklens.fit import Plan, evidence_table, fit_table
from darklens.fit.request import Request
from darklens.infer import population_coverage
from darklens.infer.population import informative
from darklens.models import architecture
from darklens.recipes.experiments.base import Log, Progress, common
from darklens.recipes.schema import SPLITS, Recipe
from darklens.recipes.splits import Described, Splits, data_card, tables
from darklens.runs import Run
from darklens.simulate import PRESETS, configured
from darklens.simulate.priors import Uniform
from darklens.train.classification import Classification
from darklens.train.config import Preprocess
from darklens.train.config_inference import InferenceConfig
from darklens.train.inference import Estimator, FreshParameters, Inference, ParameterSet, ParameterSpace
from darklens.train.inference.estimator import build_posterior
from darklens.train.inference.evaluation import calibrate, judge_posteriors, learn_novelty
from darklens.train.inference.image_set import anchors, check_columns, fit_numbers, known_rows, number_scales
from darklens.train.loop import Training

ROUND = (
    "theta_E",
    "f_sub",
    "slope_sub",
    "n_sub",
    "m_sub",
    "log10_m_axion",
    "log10_m_hm",
    "cross_section",
    "vortex_half_length",
    "vortex_theta_v",
)
"""Parameters that stay what they are when an image is turned or mirrored."""
TURNING = ("dihedral", "rotate90", "flip", "rotate")
PLACED = ("shift",)
MOST_OF_IT = 0.5
"""Share of a table's images that are used, below which only these are fitted, and the fits are not kept."""
SET = 50
"""Test lenses of a population whose mean is inferred, to see whether its intervals hold."""
FEWEST = 20
"""Images of a split below which nothing could be said."""

ParameterSplits = Splits[Inference, ParameterSet | FreshParameters, ParameterSet]


def prepare(recipe: Recipe, folder: Path, log: Log, progress: Progress) -> ParameterSplits:
    """Simulate or read images, keep those whose parameters are known, and fit what has to be fitted.

    Raises:
        InputError: settings or data that do not fit together.
    """
    settings = _check(recipe)
    parts = tables(recipe, folder, log, progress)
    first = parts["test"][0]
    for name, (table, rows) in parts.items():
        parts[name] = table, known_rows(table, rows, settings.parameters, settings.classes)
        if (n := len(parts[name][1])) < (FEWEST if not recipe.tiny else 4):
            wanted = ", ".join(settings.parameters)
            raise InputError(f"{n} images of {name} have known {wanted}, and {FEWEST} are needed: raise data.{name}")
    fitting = Request(**recipe.fit.model_dump()).plan(first.images(np.arange(min(5, len(first)))), first.manifest)
    plan = fitting if recipe.preprocess.input != "image" else None
    check_columns(recipe.preprocess.columns, plan)
    known, rows = parts.get("train", parts["validation"])
    theta = np.stack([known.column(name)[rows] for name in settings.parameters], 1)
    space = _space(settings, theta, first)
    sets = {name: _set(*part, recipe.preprocess, plan, space, name, log, progress) for name, part in parts.items()}
    present = set(known.labels[rows].tolist())
    kinds = tuple(name for name in known.classes if name in present)
    train = _fresh(recipe, kinds, plan, space, log) if recipe.data.fresh else sets["train"]
    described: dict[str, Described] = {**sets, "train": train}
    stored = {name: table for name, (table, _) in parts.items()}
    card = data_card(recipe.data, first, {name: (stored.get(name), described[name]) for name in SPLITS}, 0)
    card |= {"parameters": settings.parameters, "kinds": list(kinds), "prior": _prior(recipe, settings.parameters, theta)}
    return Splits(Inference(space), train, sets["validation"], sets["test"], card, plan)


def _check(recipe: Recipe) -> InferenceConfig:
    if recipe.inference is None:
        raise InputError(
            "train.task inference needs the parameters: set inference={parameters: [theta_E]}, truth columns of the images"
        )
    settings, data = recipe.inference, recipe.data
    for key in ("group", "classes", "positives", "leak", "subset", "galaxies", "difficulty"):
        if getattr(data, key):
            raise InputError(f"data.{key} means nothing for inference: leave it out")
    if data.fresh and len(recipe.single()) > 1:
        raise InputError("data.fresh with several networks draws for one of them: give each network its own recipe")
    turned = [name for name in settings.parameters if name not in ROUND]
    if turned and (bad := [word for word in recipe.train.augment if word in (*TURNING, *PLACED, "cutmix")]):
        raise InputError(f"train.augment has {bad[0]!r}, which changes {turned[0]} of an image: leave it out")
    for one in recipe.single():
        if one.preprocess != recipe.preprocess:
            raise InputError("networks of inference share what they see: give the one with another preprocess its own recipe")
        accepted = inspect.signature(architecture(one.model.name)).parameters
        if turned and "symmetric" in accepted and one.model.options.get("symmetric", True):
            raise InputError(
                f"{one.model.name} answers alike however an image is turned, and {turned[0]} does not: "
                "set model.options={symmetric: false}"
            )
    return settings


def _space(settings: InferenceConfig, theta: np.ndarray, table: Table) -> ParameterSpace:
    for name, values in zip(settings.parameters, theta.T, strict=True):
        if np.ptp(values) == 0:
            raise InputError(f"{name} is {values[0]:g} in all training images, and there is nothing to infer: leave it out")
    kind = "probit" if settings.posterior == "flow" else "standard"
    return ParameterSpace.measured(settings.parameters, theta, kind, {name: table.units(name) for name in settings.parameters})


def _prior(recipe: Recipe, names: list[str], theta: np.ndarray) -> dict[str, list[float]]:
    """Return the ends of the priors that are uniform, by name."""
    population = PRESETS[recipe.data.preset].population if recipe.data.preset in PRESETS else None
    found = {}
    for name, values in zip(names, theta.T, strict=True):
        prior = getattr(population, name, None)
        if isinstance(prior, Uniform) and prior.low <= values.min() and values.max() <= prior.high:
            found[name] = list(prior.support)
    return found


def _set(
    table: Table,
    rows: np.ndarray,
    settings: Preprocess,
    plan: Plan | None,
    space: ParameterSpace,
    name: str,
    log: Log,
    progress: Any,
) -> ParameterSet:
    theta = np.stack([table.column(parameter)[rows] for parameter in space.names], 1)
    about: dict[str, Any] = {"theta": theta, "space": space, "ids": table.ids[rows], "shape": table.shape, "rows": rows}
    if plan is None:
        return ParameterSet(shown=table.images(rows), numbers=np.zeros((len(rows), 0), np.float32), chi2=None, **about)

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"{what}, {name}", done, total)

    if len(rows) < MOST_OF_IT * len(table) and not (table.path and (table.path / "fits" / plan.key()).is_dir()):
        table, rows = table.select(rows=rows), np.arange(len(rows))  # in memory: to fit all for a few would take much longer
    if settings.input == "evidence":
        fits = evidence_table(
            table,
            plan,
            crop=settings.crop,
            bin=settings.bin,
            fit_progress=told("fitting smooth lenses"),
            progress=told("evidence"),
        )
    else:
        fits = fit_table(table, plan, progress=told("fitting smooth lenses"))
    shown = fits.images(rows)
    if settings.input == "both":
        shown = np.concatenate([shown, table.images(rows)], axis=1)
    chi2 = fits.column("fit_chi2")[rows]
    log(f"{name}: {len(rows)} images with known parameters, median reduced chi^2 of their smooth fits {np.median(chi2):.3g}")
    numbers = fit_numbers({column: fits.column(column)[rows] for column in settings.columns}, len(rows))
    return ParameterSet(shown=shown, numbers=numbers, chi2=chi2, **about)


def _fresh(recipe: Recipe, kinds: tuple[str, ...], plan: Plan | None, space: ParameterSpace, log: Log) -> FreshParameters:
    """Return a training set without end, of the classes whose parameters are known."""
    data, task = recipe.data, Classification(kinds, {})
    assert data.preset is not None, "fresh images are those of a preset"
    preset = configured(data.preset, **data.options_of("train"))
    log(f"train: new images of {data.preset} ({', '.join(kinds)}) every epoch, {data.train} at a time")
    return FreshParameters(preset, data.seed, data.train, task, plan, recipe.preprocess, space=space, kinds=kinds)


def describe(recipe: Recipe, splits: ParameterSplits) -> dict[str, Any]:
    """Return `model.json`: what an estimator has to know besides the weights."""
    settings, columns = recipe.inference, recipe.preprocess.columns
    assert settings is not None, "which a recipe without is refused for"
    known = splits.validation if isinstance(splits.train, FreshParameters) else splits.train
    return (
        common(recipe, splits)
        | {"inference": settings.model_dump(), "space": splits.task.space.as_dict(), "preset": splits.card.get("preset")}
        | {key: splits.card[key] for key in ("kinds", "prior")}
        | ({"fit": splits.plan.as_dict()} if splits.plan else {})
        | ({"columns": number_scales(columns, known.numbers)} if columns else {})
        | ({"anchors": found} if settings.from_fit and (found := anchors(settings.parameters, columns, known)) else {})
    )


def build(described: dict[str, Any], splits: ParameterSplits) -> nn.Module:
    """Return the network, with a posterior above it."""
    return build_posterior(described)


def finish(run: Run, training: Training, splits: ParameterSplits, log: Callable[[str], None]) -> None:
    """Learn what the images are like, and look at the test images once."""
    estimator = Estimator(run, training.fabric.device.type)
    calibrate(estimator, splits.validation)
    learn_novelty(estimator, splits.train, splits.validation)
    start = time.perf_counter()
    estimator.look(splits.test)
    rate = len(splits.test) / (time.perf_counter() - start)
    run.write("provenance", (run.provenance or {}) | {"predict_images_per_s": round(rate, 1)})
    beyond = partial(_populations, splits.card["prior"], splits.test)
    metrics = judge_posteriors(estimator, splits.test, run, history=run.history, beyond=beyond, **_scenes(splits))
    for name, found in metrics["parameters"].items():
        covered = found["coverage_68"]["value"]
        log(f"{name}: mean absolute error {found['mae']['value']:.4g}, 68% intervals hold the truth in {100 * covered:.0f}%")


def _populations(priors: dict[str, list[float]], test: ParameterSet, samples: np.ndarray) -> dict[str, Any]:
    """Return bias and coverage of populations of test lenses, for the parameters whose prior is uniform."""
    if len(test) < 4 * SET:
        return {}
    found = {}
    for name, (low, high) in priors.items():
        k = test.space.names.index(name)
        if informative(samples[:, :, k], (low, high)):
            found[name] = population_coverage(samples[:, :, k], test.theta[:, k], (low, high), lenses=SET)
    return {"population": found} if found else {}


def _scenes(splits: ParameterSplits) -> dict[str, Any]:
    """Return what the posterior-predictive check needs; nothing where no preset makes the test images."""
    test = splits.card["splits"]["test"]
    if splits.card.get("preset") not in PRESETS or test.get("path") is None or test.get("seed") is None:
        return {}
    table = Table.open(test["path"])
    preset = PRESETS[splits.card["preset"]]
    labels = table.labels[splits.test.rows]
    return {"preset": preset, "seed": test["seed"], "labels": labels, "pixels": lambda k: table.images(splits.test.rows[k])}
