"""Where clumps are: evidence and true places of simulated lenses, the task, completeness and false positives on the test set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from darklens.data import Table, content_hash
from darklens.errors import InputError
from darklens.fit import Plan, evidence_table
from darklens.fit.request import Request
from darklens.recipes.experiments.base import Log, Progress, common
from darklens.recipes.schema import SPLITS, Recipe
from darklens.recipes.splits import Splits, data_card, tables
from darklens.runs import Run
from darklens.train.clump_set import ClumpSet, drawn_clumps
from darklens.train.config import Preprocess
from darklens.train.config_localisation import LocalisationConfig
from darklens.train.localisation import Localisation
from darklens.train.localiser import Localiser, build_localiser
from darklens.train.localiser_evaluation import judge_localiser
from darklens.train.loop import Training

ClumpSplits = Splits[Localisation, ClumpSet, ClumpSet]


def prepare(recipe: Recipe, folder: Path, log: Log, progress: Progress) -> ClumpSplits:
    """Simulate, fit smooth lenses, and draw the clumps again.

    Raises:
        InputError: settings that mean nothing here, or images whose clumps nobody knows.
    """
    _check(recipe)
    settings, seen = recipe.localisation or LocalisationConfig(), recipe.preprocess
    parts = tables(recipe, folder, log, progress)
    first = parts["train"][0]
    plan = Request(**recipe.fit.model_dump()).plan(first.images(np.arange(min(5, len(first)))), first.manifest)
    sets = {name: _set(table, plan, settings, seen, name, progress) for name, (table, _) in parts.items()}
    hashes = [set(images.recorded) for images in sets.values()]
    if any(a & b for k, a in enumerate(hashes) for b in hashes[:k]):
        raise InputError("an image stands in two splits: give the splits different seeds")
    for name, images in sets.items():
        log(f"{name}: {len(images)} lenses, {images.counts['clump']} with a clump of 10^{settings.least:g} M_sun or more")
    card = data_card(recipe.data, first, {name: (parts[name][0], sets[name]) for name in SPLITS}, 0)
    task = Localisation(settings, plan.pixel_scale * seen.bin)
    return Splits(task, sets["train"], sets["validation"], sets["test"], card, plan)


def _check(recipe: Recipe) -> None:
    seen = recipe.preprocess
    if any(
        one.preprocess != Preprocess(input="evidence", bin=seen.bin, crop=seen.crop, normalise="none") for one in recipe.single()
    ):
        raise InputError(
            "localisation sees evidence: set preprocess to {input: evidence, normalise: none}, with crop and bin at most"
        )
    if recipe.data.preset is None or recipe.data.fresh or recipe.data.subset:
        raise InputError(
            "localisation learns from stored simulations, whose clumps are known: set data.preset, without fresh and subset"
        )
    if others := sorted(set(recipe.train.augment) - {"dihedral"}):
        raise InputError(f"train.augment has {others[0]!r}, which would not move the clumps too: leave only dihedral")


def _set(table: Table, plan: Plan, settings: LocalisationConfig, seen: Preprocess, name: str, progress: Progress) -> ClumpSet:
    maps = evidence_table(
        table,
        plan,
        crop=seen.crop,
        bin=seen.bin,
        fit_progress=lambda done, total: progress(f"fitting smooth lenses, {name}", done, total),
        progress=lambda done, total: progress(f"evidence for substructure, {name}", done, total),
    )
    recorded = tuple(content_hash(image) for batch in table.batches(256) for image in batch["image"])
    return ClumpSet(maps.image_array(), drawn_clumps(table, settings.least, settings.most), list(table.ids), recorded)


def describe(recipe: Recipe, splits: ClumpSplits) -> dict[str, Any]:
    """Return `model.json`: with how images are fitted, and what counts as a clump."""
    assert splits.plan is not None, "every lens is fitted"
    own = {
        "image_shape": splits.card["shape"],
        "fit": splits.plan.as_dict(),
        "settings": splits.task.settings.model_dump(),
        "scale": splits.task.scale,
        "preset": splits.card["preset"],
    }
    return common(recipe, splits) | own


def build(described: dict[str, Any], splits: ClumpSplits) -> nn.Module:
    """Return the network for maps of this size."""
    return build_localiser(described)


def finish(run: Run, training: Training, splits: ClumpSplits, log: Callable[[str], None]) -> None:
    """Set the threshold on validation images, and look for the clumps of the test images, once."""
    localiser = Localiser(run, training.fabric.device.type)
    run.write("calibration", localiser.calibrated(splits.validation))
    metrics = judge_localiser(localiser, splits.test, run, history=run.history)
    false, reach = metrics["false_positives"], metrics["log10_m_50"]
    log(
        f"{false['value']:.3f} [{false['low']:.3f}, {false['high']:.3f}] false positives an image without clump; half of those of "
        + (f"10^{reach['value']:.2f} M_sun are found" if reach else "no mass here are found")
    )
