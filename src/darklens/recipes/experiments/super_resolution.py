"""Sharper images: pairs from a pair preset or a folder, the task, and every method on the test pairs, once."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from darklens.data import ImagePairs, Table, content_hash, is_pairs, read_pairs, split_of
from darklens.data.image_pairs import LOW
from darklens.errors import InputError, unknown
from darklens.fit.table import fit_table, fitted_parameters
from darklens.models import architecture
from darklens.recipes.experiments.base import Log, Progress, common
from darklens.recipes.schema import SPLITS, DataConfig, Recipe
from darklens.recipes.splits import Splits
from darklens.runs import Run
from darklens.simulate import PAIRS, simulate_pairs
from darklens.train.config import Preprocess
from darklens.train.config_super_resolution import SuperResolutionConfig
from darklens.train.enhancer import Enhancer, build_enhancer
from darklens.train.loop import Training
from darklens.train.pair_evaluation import judge_pairs
from darklens.train.pair_facts import pair_facts, registered
from darklens.train.pair_set import PairSet
from darklens.train.smooth_pairs import SmoothPairs
from darklens.train.super_resolution import KEPT, SuperResolution

TAKEN = {"preset", "path", "train", "validation", "test", "fractions", "seed", "test_seed"}
"""Keys of the section `data` that mean something here."""
PairSplits = Splits[SuperResolution, PairSet, PairSet]


def prepare(recipe: Recipe, folder: Path, log: Log, progress: Progress) -> PairSplits:
    """Simulate or read pairs, take care that none stands on two sides, and measure what is known about them.

    Raises:
        InputError: settings that mean nothing for pairs, or pairs that are none.
    """
    _check(recipe)
    settings, data = recipe.super_resolution or SuperResolutionConfig(), recipe.data
    parts = _simulated(data, folder, log, progress) if data.preset else _read(data, settings, log)
    parts, removed = _without_copies(parts)
    first = parts["train"]
    if settings.target == "truth" and any(pairs.truth is None for pairs in parts.values()):
        raise InputError(f"{data.path} has no TRUTH beside HR and LR: set super_resolution.target=recorded, or simulate pairs")
    facts = pair_facts(first)
    log(f"pairs of scale {facts['scale']}: gain {facts['gain']:.4g}, coarse PSF wider by {facts['blur']:.3g} fine pixels")
    task = SuperResolution(settings, facts["scale"], facts["gain"], facts["unit"])
    sets = {name: PairSet(pairs, settings.target == "truth") for name, pairs in parts.items()}
    if settings.smooth_lens:
        facts |= _add_smooth(sets, data, folder, log, progress)
    return Splits(task, sets["train"], sets["validation"], sets["test"], _card(data, parts, facts, removed))


def _add_smooth(sets: dict[str, PairSet], data: DataConfig, folder: Path, log: Log, progress: Progress) -> dict[str, Any]:
    """Fit a smooth lens to every coarse image of the sets, once a table, and return what is to be known about it."""
    plans, limits = SmoothPairs.of(sets["train"].pairs.about), {}
    for name, images in sets.items():
        pairs = images.pairs
        table = Table.open(_place(data, name, folder) / LOW) if data.preset else _in_memory(pairs)
        fits = fit_table(table, plans.coarse, progress=partial(progress, f"fitting smooth lenses, {name}"))
        row_of = {who: row for row, who in enumerate(fits.ids)}
        rows = np.array([row_of[who] for who in pairs.ids])
        chi2, found = fits.column("fit_chi2")[rows], fits.column("fit_converged")[rows] > 0
        parameters = fitted_parameters(fits, plans.coarse, rows)
        sets[name] = replace(images, smooth=plans.render(parameters, pairs.low.shape[-2:]))
        limits[name] = float(np.quantile(chi2[found], 0.999)) if found.any() else np.inf
        kind, typical = plans.coarse.model.name, np.median(chi2)
        log(f"{name}: {len(rows)} lenses fitted ({kind}), median chi^2 {typical:.3f}, {int((~found).sum())} did not converge")
    return {"smooth_lens": True, "smooth_chi2": limits["train"]}


def _in_memory(pairs: ImagePairs) -> Table:
    ids, nobody = list(pairs.ids), [None] * len(pairs)
    return Table.from_columns(ids=ids, images=pairs.low, labels=nobody, truth={}, classes=[], manifest={})


def _check(recipe: Recipe) -> None:
    settings, plain = recipe.super_resolution or SuperResolutionConfig(), Preprocess(normalise="none")
    for key, value in recipe.data.model_dump().items():
        if key not in TAKEN and value != DataConfig.model_fields[key].get_default(call_default_factory=True):
            raise InputError(f"data.{key} means nothing for pairs of images: leave it out")
    strange = [word for word in recipe.train.augment if word not in KEPT]
    if strange:
        raise InputError(f"train.augment has {strange[0]!r}, which would tear pairs apart: use {', '.join(KEPT)} alone")
    for one in recipe.single():
        if one.preprocess != plain:
            raise InputError("super-resolution sees images as they are: set preprocess to {normalise: none} and nothing else")
        honest = getattr(architecture(one.model.name), "heteroscedastic", False)
        if honest != (settings.loss == "nll"):
            has = "answers a sigma, which only super_resolution.loss=nll teaches" if honest else "answers no sigma, which nll needs"
            raise InputError(f"model {one.model.name!r} {has}: change one of the two")
        if settings.smooth_lens and "smooth_lens" not in inspect.signature(architecture(one.model.name)).parameters:
            raise InputError(f"model {one.model.name!r} cannot see a smooth lens: set super_resolution.smooth_lens=false")


def _simulated(data: DataConfig, folder: Path, log: Log, progress: Progress) -> dict[str, ImagePairs]:
    assert data.preset is not None, "asked of data that have one"
    if data.preset not in PAIRS:
        raise unknown("pair preset", data.preset, PAIRS)
    parts = {}
    for name in SPLITS:
        n, seed, out, done = getattr(data, name), data.seed_of(name), _place(data, name, folder), 0

        def advance(rows: int, n: int = n, name: str = name) -> None:
            nonlocal done
            done += rows
            progress(f"simulating {data.preset}, {name}", done, 3 * n)

        parts[name] = read_pairs(simulate_pairs(data.preset, n, out=out, seed=seed, progress=advance))
        log(f"{name}: {n} pairs of {data.preset}, seed {seed}, in {out}")
    return parts


def _place(data: DataConfig, name: str, folder: Path) -> Path:
    """Return where the simulated pairs of a split lie."""
    return folder / f"{data.preset}-n{getattr(data, name)}-seed{data.seed_of(name)}"


def _read(data: DataConfig, settings: SuperResolutionConfig, log: Log) -> dict[str, ImagePairs]:
    assert data.path is not None, "which data without a preset have"
    path = Path(data.path)
    if all(is_pairs(path / name) for name in SPLITS):
        parts = {name: read_pairs(path / name) for name in SPLITS}
    else:
        whole = read_pairs(path)
        shares = dict(zip(SPLITS, data.fractions, strict=True))
        sides = np.array([split_of(content_hash(image), shares, data.seed) for image in whole.low])
        parts = {name: whole.take(np.flatnonzero(sides == name)) for name in SPLITS}
        log(f"split by image content (seed {data.seed}): " + ", ".join(f"{name} {len(p)}" for name, p in parts.items()))
    for name, pairs in parts.items():
        if not len(pairs):
            raise InputError(f"{path} leaves no pair for {name}: give more pairs, or other data.fractions")
        if settings.register_pairs and "gain" not in pairs.about:  # those of darklens are aligned as they are made
            parts[name], moved = registered(pairs, path)
            log(f"{name}: shifts of up to {moved.max():.3g} fine pixels (median {np.median(moved):.3g}) were measured and removed")
    return parts


def _without_copies(parts: dict[str, ImagePairs]) -> tuple[dict[str, ImagePairs], int]:
    """Drop training pairs whose coarse image validation or test hold too; refuse those that both hold."""
    hashes = {name: np.array([content_hash(image) for image in pairs.low], dtype=object) for name, pairs in parts.items()}
    if shared := set(hashes["validation"]) & set(hashes["test"]):
        raise InputError(f"{len(shared)} pairs stand both in validation and in test: give each once")
    keep = ~np.isin(hashes["train"], np.concatenate([hashes["validation"], hashes["test"]]))
    return parts | {"train": parts["train"].take(np.flatnonzero(keep))}, int((~keep).sum())


def _card(data: DataConfig, parts: dict[str, ImagePairs], facts: dict[str, Any], removed: int) -> dict[str, Any]:
    about = parts["train"].about
    kept = {key: about.get(key) for key in ("summary", "notes", "instrument", "cosmology", "pixel_scale", "flux_unit", "preset")}
    command = (
        "; ".join(
            f"darklens simulate {data.preset} --n {getattr(data, name)} --seed {data.seed_of(name)} --out {name.upper()}"
            for name in SPLITS
        )
        if data.preset
        else f"the folders HR and LR below {data.path}"
    )
    splits: dict[str, dict[str, Any]] = {
        name: {
            "rows": len(pairs),
            "counts": {},
            "checksum": pairs.checksum or content_hash(pairs.low),
            "seed": data.seed_of(name) if data.preset else data.seed,
            "path": None,
        }
        for name, pairs in parts.items()
    }
    return kept | {
        "source": f"simulated: {data.preset}" if data.preset else str(data.path),
        "how_to_repeat": command,
        "shape": list(parts["train"].low.shape[1:]),
        "classes": [],
        "pairs": facts,
        "splits": splits,
        "disjoint": "checked: no coarse image (by content hash) stands in two splits"
        + (f"; {removed} copies were removed from training" if removed else ""),
    }


def describe(recipe: Recipe, splits: PairSplits) -> dict[str, Any]:
    """Return `model.json`: with what is known about the pairs, by which images of another kind are told."""
    smooth = {"smooth": SmoothPairs.of(splits.train.pairs.about).as_dict()} if splits.task.settings.smooth_lens else {}
    return common(recipe, splits) | {"pairs": splits.card["pairs"], "settings": splits.task.settings.model_dump()} | smooth


def build(described: dict[str, Any], splits: PairSplits) -> nn.Module:
    """Return the network, which is told scale, gain, unit and blur of the pairs as far as it asks for them."""
    return build_enhancer(described)


def finish(run: Run, training: Training, splits: PairSplits, log: Callable[[str], None]) -> None:
    """Sharpen the test images by every method, once."""
    enhancer = Enhancer(run, training.fabric.device.type)
    start = time.perf_counter()
    enhancer(splits.test.pairs.low)
    rate = len(splits.test) / (time.perf_counter() - start)
    run.write("provenance", (run.provenance or {}) | {"predict_images_per_s": round(rate, 1)})
    metrics = judge_pairs(enhancer, splits.test, run, unit=splits.card["flux_unit"] or "", history=run.history)
    gain = metrics["gain_db"]
    log(f"PSNR {metrics['psnr']['value']:.2f} dB, {gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}] dB over bicubic")
