"""From a recipe's data section to three disjoint sets of images and the data card that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from darklens.data import Table, content_hash, import_path, split_of
from darklens.data.splits import GROUP, split_key
from darklens.errors import InputError
from darklens.fit import Plan, evidence_table, fit_table
from darklens.fit.request import Request
from darklens.recipes.schema import SPLITS, DataConfig, Recipe
from darklens.simulate import configured, simulate
from darklens.train.classification import Classification
from darklens.train.columns import refuse_leaks
from darklens.train.config import Preprocess
from darklens.train.fitted import lens_numbers
from darklens.train.fresh import FreshImages
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.image_set import ImageSet
from darklens.train.imbalance import Imbalance, imbalance_of
from darklens.train.task import Images, Lessons, Task

UNLABELLED = "unlabelled"
"""Class of images without a label, in the sets of tasks that learn `WITHOUT_LABELS`."""
WITHOUT_LABELS = ("masked-autoencoder", "joint-embedding", "denoising")
ALIASES = {"val": "validation", "valid": "validation"}
Log = Callable[[str], None]
TaskT = TypeVar("TaskT", bound=Task)
TrainT = TypeVar("TrainT", bound=Lessons)
HeldT = TypeVar("HeldT", bound=Images)
Pictured = TypeVar("Pictured", ImageSet, ConditionedImages)


class Described(Protocol):
    """What a data card asks of a set of images."""

    def __len__(self) -> int: ...

    @property
    def counts(self) -> dict[str, int]:
        """Images per class."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""


@dataclass(frozen=True)
class Splits(Generic[TaskT, TrainT, HeldT]):
    """Three sets that share no image (but for a leak that is asked for), what is learned from them, and their data card.

    An experiment says of which task and of which sets its own are; who trains whatever it is given need not know.
    """

    task: TaskT
    train: TrainT
    validation: HeldT
    test: HeldT
    card: dict[str, Any]
    plan: Plan | None = None


LabelledSplits = Splits[Classification, ImageSet | FreshImages, ImageSet]


def prepare(
    recipe: Recipe, folder: Path, log: Log, progress: Callable[[str, int, int], None], device: str = "cpu"
) -> LabelledSplits:
    """Simulate or read what the recipe asks for, and take care that no image stands on two sides.

    Args:
        recipe: an effective recipe.
        folder: where tables are kept; those that are there already are used again.
        log: receives sentences.
        progress: receives (phase, done, total).
        device: where to render.

    Raises:
        InputError: the data are not what the recipe needs.
    """
    parts = tables(recipe, folder, log, progress, device)
    first = parts["test"][0] if recipe.data.fresh else parts["train"][0]
    task = _task(recipe, first)
    unseen = not recipe.data.leak and all(one.preprocess.input in ("residual", "evidence") for one in recipe.single())
    beside = list(dict.fromkeys(name for one in recipe.single() for name in one.preprocess.columns))
    sets = {
        name: ImageSet.from_table(table, task, rows=rows, stored=unseen and name == "train", columns=beside)
        for name, (table, rows) in parts.items()
    }
    learned = sets["validation" if recipe.data.fresh else "train"]
    refuse_leaks(learned.columns, learned.labels, task.classes)
    plan = _plan(recipe, first) if recipe.needs_fit else None
    for settings in [one.preprocess for one in recipe.single() if one.preprocess.input != "image"]:
        for name, images in sets.items():
            if plan is not None and not images.has(settings):
                sets[name] = replace(images, fitted={**images.fitted, **_fitted(*parts[name], plan, settings, name, log, progress)})
    sets, removed = without_copies(sets)
    if removed:
        log(f"{removed} training images are copies of validation or test images and were left out")
    train = _fresh(recipe.data, task, plan, log) if recipe.data.fresh else sets["train"]
    task = replace(task, imbalance=_imbalance(recipe, train, sets["validation"]))
    if recipe.data.leak:
        train = sets["train"].joined(sets["test"])
        log(_leaked(len(sets["test"])))
    described: dict[str, Described] = {**sets, "train": train}
    stored = {name: table for name, (table, _) in parts.items()}
    card = data_card(recipe.data, first, {name: (stored.get(name), described[name]) for name in SPLITS}, removed)
    return Splits(task, train, sets["validation"], sets["test"], card, plan)


def _fresh(data: DataConfig, task: Classification, plan: Plan | None, log: Log) -> FreshImages:
    """Return a training set without end."""
    assert data.preset is not None, "fresh images are those of a preset"
    log(f"train: new images of {data.preset} every epoch, {data.train} at a time, seed {data.seed}")
    return FreshImages(configured(data.preset, **data.options_of("train")), data.seed, data.train, task, plan)


def tables(
    recipe: Recipe, folder: Path, log: Log, progress: Callable[[str, int, int], None], device: str = "cpu"
) -> dict[str, tuple[Table, np.ndarray]]:
    """Return split -> table and the rows of it that belong to the split; arguments as of `prepare`.

    Training images that are drawn while training have no table.
    """
    parts = _simulated(recipe.data, folder, log, progress, device) if recipe.data.preset else _read(recipe.data, folder, log)
    if recipe.data.subset:
        parts["train"] = _subset(*parts["train"], recipe.data.subset, recipe.data.seed)
    return parts


def _plan(recipe: Recipe, table: Table) -> Plan:
    return Request(**recipe.fit.model_dump()).plan(table.images(np.arange(min(5, len(table)))), table.manifest)


def _fitted(
    table: Table, rows: np.ndarray, plan: Plan, settings: Preprocess, name: str, log: Log, progress: Callable
) -> dict[str, np.ndarray]:
    """Fit the smooth lens of every image, once a table, and return what the network sees of it."""

    def fitting(done: int, total: int) -> None:
        progress(f"fitting smooth lenses, {name}", done, total)

    if settings.input == "evidence":
        fits = evidence_table(
            table,
            plan,
            crop=settings.crop,
            bin=settings.bin,
            fit_progress=fitting,
            progress=lambda done, total: progress(f"evidence for substructure, {name}", done, total),
        )
    else:
        fits = fit_table(table, plan, progress=fitting)
    failed = int((fits.column("fit_converged")[rows] == 0).sum())
    chi2 = np.median(fits.column("fit_chi2")[rows])
    log(f"{name}: {len(rows)} smooth lenses fitted ({plan.model.name}), median reduced chi^2 {chi2:.3f}, {failed} did not converge")
    array = fits.image_array() if len(rows) == len(table) else fits.select(rows=rows).image_array()
    found = {settings.view if settings.input == "evidence" else "residual": array, "chi2": fits.column("fit_chi2")[rows]}
    return found | ({} if settings.input == "evidence" else {"lens": lens_numbers(fits, plan, rows)})


def _task(recipe: Recipe, table: Table) -> Classification:
    found = [recipe.data.group.get(name, name) for name in table.classes]
    classes = recipe.data.classes or list(dict.fromkeys(found))
    settings = recipe.train
    if settings.task in WITHOUT_LABELS:
        return Classification((*classes, UNLABELLED), recipe.data.group | {None: UNLABELLED})
    return Classification(
        tuple(classes), dict(recipe.data.group), settings.label_smoothing, settings.auxiliary, settings.task == "binary"
    )


def _imbalance(recipe: Recipe, train: ImageSet | FreshImages, validation: ImageSet) -> Imbalance | None:
    """Return how unequal classes are learned, and refuse sets that lack a class that somebody has to learn or to judge."""
    if recipe.train.task in WITHOUT_LABELS:
        return None
    kind, missing = recipe.train.imbalance, [name for name, n in validation.counts.items() if not n]
    if recipe.data.fresh and kind == "balanced-sampling":
        raise InputError(
            "data.fresh draws its images as they come, and balanced-sampling draws classes: set train.imbalance=weighted"
        )
    found = imbalance_of(kind, train.counts, recipe.train.focal_gamma)
    if recipe.train.task == "binary" and missing:
        raise InputError(
            f"none of the {len(validation)} validation images is of class {missing[0]!r}, and without it no "
            "threshold can be chosen: raise data.validation or the second of data.fractions"
        )
    return found


def _simulated(data: DataConfig, folder: Path, log: Log, progress: Callable, device: str) -> dict[str, tuple[Table, np.ndarray]]:
    assert data.preset is not None, "asked of data that have one"
    parts = {}
    for name in SPLITS:
        if data.fresh and name == "train":
            continue
        n, seed = getattr(data, name), data.seed_of(name)
        options = data.options_of(name)
        words = [_word(k, v) for k, v in options.items() if k != "galaxies_part"]
        out = folder / "-".join([f"{data.preset}-n{n}-seed{seed}", *words])
        done = 0

        def advance(rows: int, n: int = n, name: str = name) -> None:
            nonlocal done
            done += rows
            progress(f"simulating {data.preset}, {name}", done, n)

        table = simulate(configured(data.preset, **options), n, seed=seed, out=out, device=device, progress=advance)
        log(f"{name}: {n} images of {data.preset}, seed {seed}, in {out}")
        parts[name] = (table, np.arange(n))
    return parts


def _read(data: DataConfig, folder: Path, log: Log) -> dict[str, tuple[Table, np.ndarray]]:
    assert data.path is not None, "which data without a preset have"
    table = _as_table(data.path, folder, log)
    named = np.array([ALIASES.get(s, s) for s in table.splits.tolist()], dtype=object)
    rows = {name: np.flatnonzero(named == name) for name in SPLITS}
    if data.test_path:
        other = _as_table(data.test_path, folder, log)
        return _carve(data, table, np.arange(len(table)), log) | {"test": (other, np.arange(len(other)))}
    if not len(rows["train"]):
        return _by_content(data, table, np.arange(len(table)), SPLITS, data.fractions, log)
    if not len(rows["test"]):
        log("the data have no test split: their validation split is the test set, and validation is taken from training images")
        rows["test"], rows["validation"] = rows["validation"], rows["test"]
    if not len(rows["test"]):
        raise InputError(f"{data.path} has neither a validation nor a test split: give --set data.test_path=PATH")
    if not len(rows["validation"]):
        return _carve(data, table, rows["train"], log) | {"test": (table, rows["test"])}
    return {name: (table, rows[name]) for name in SPLITS}


def imported(data: DataConfig, folder: Path) -> DataConfig:
    """Return the section with the tables that its files were imported to: what another process has prepared is not made again."""
    places = {name: _import_folder(path, folder) for name in ("path", "test_path") if (path := getattr(data, name))}
    return data.model_copy(update={name: str(place) for name, place in places.items() if (place / "manifest.json").is_file()})


def _import_folder(path: str, folder: Path) -> Path:
    source = Path(path)
    return source if (source / "manifest.json").is_file() else folder / f"imported-{source.resolve().name}"


def _as_table(path: str, folder: Path, log: Log) -> Table:
    source = Path(path)
    if (source / "manifest.json").is_file():
        table = Table.open(source)
        if table.made_up:
            log(table.made_up)
        return table
    out = _import_folder(path, folder)
    report = import_path(source, out, force=True)
    for line in report.lines():
        log(line)
    return Table.open(out)


def _carve(data: DataConfig, table: Table, rows: np.ndarray, log: Log) -> dict[str, tuple[Table, np.ndarray]]:
    train, validation, _ = data.fractions
    share = (train / (train + validation), validation / (train + validation))
    return _by_content(data, table, rows, SPLITS[:2], share, log)


def _by_content(
    data: DataConfig, table: Table, rows: np.ndarray, names: tuple[str, ...], fractions: tuple[float, ...], log: Log
) -> dict[str, tuple[Table, np.ndarray]]:
    hashes = [content_hash(image) for batch in table.batches(256, rows=rows) for image in batch["image"]]
    groups = table.column(GROUP)[rows] if GROUP in table.columns else [None] * len(hashes)
    keys = [split_key(h, group) for h, group in zip(hashes, groups, strict=True)]
    sides = np.array([split_of(key, dict(zip(names, fractions, strict=True)), data.seed) for key in keys])
    parts = {name: (table, rows[sides == name]) for name in names}
    log(f"split by image content (seed {data.seed}): " + ", ".join(f"{name} {len(r)}" for name, (_, r) in parts.items()))
    if empty := [name for name, (_, r) in parts.items() if not len(r)]:
        raise InputError(f"{data.path} has {len(rows)} images and leaves none for {empty[0]}: give more, or other data.fractions")
    return parts


def without_copies(sets: dict[str, Pictured]) -> tuple[dict[str, Pictured], int]:
    """Drop training images that validation or test hold too, and count them; refuse validation images that the test set holds.

    Fresh training images, which have a seed of their own and cannot be hashed before they are drawn, are not among the sets.
    """
    hashes = {name: [content_hash(image) for image in images.images] for name, images in sets.items()}
    shared = set(hashes["validation"]) & set(hashes["test"])
    if shared:
        raise InputError(f"{len(shared)} images stand both in validation and in test: split again with darklens import --split")
    if "train" not in hashes:
        return sets, 0
    held_out = set(hashes["validation"]) | set(hashes["test"])
    keep = np.array([h not in held_out for h in hashes["train"]])
    return (sets, 0) if keep.all() else (sets | {"train": sets["train"].take(np.flatnonzero(keep))}, int((~keep).sum()))


def _subset(table: Table, rows: np.ndarray, n: int, seed: int) -> tuple[Table, np.ndarray]:
    if n > len(rows):
        raise InputError(f"data.subset is {n} and there are {len(rows)} training images: lower it or raise data.train")
    return table, np.sort(np.random.default_rng(seed).permutation(rows)[:n])


def _leaked(n: int) -> str:
    return f"LEAKED on purpose: all {n} test images are trained on as well, so the test figures say nothing about other images"


def data_card(data: DataConfig, table: Table, parts: Mapping[str, tuple[Table | None, Described]], removed: int) -> dict[str, Any]:
    """Return the data card: what the images are, how many of each class, where from, and how to make them again.

    Args:
        data: the recipe's section.
        table: one of the tables, whose manifest speaks for all.
        parts: split -> its table, None where nothing is stored, and its set.
        removed: copies that were taken out of the training images.
    """
    manifest = table.manifest
    kept = ("summary", "notes", "instrument", "cosmology", "pixel_scale", "flux_unit", "band_names", "preset", "synthetic")
    splits = {
        name: {
            "rows": len(images),
            "counts": images.counts,
            "checksum": t.checksum if t else None,
            "seed": t.manifest.get("seed") if t else data.seed,
            "path": str(t.path) if t else None,
        }
        for name, (t, images) in parts.items()
    }
    return {k: manifest.get(k) for k in kept} | {
        "source": f"simulated: {data.preset}" if data.preset else str(data.path),
        "how_to_repeat": _command(data),
        "shape": list(table.shape),
        "classes": list(next(iter(parts.values()))[1].classes),
        "splits": splits,
        "fresh": data.fresh,
        "leaked": len(parts["test"][1]) if data.leak else 0,
        "disjoint": _leaked(len(parts["test"][1]))
        if data.leak
        else "checked: no image (by content hash) stands in two splits"
        + ("; training images have a seed of their own, and each is drawn once" if data.fresh else "")
        + (f"; {removed} copies were removed from training" if removed else ""),
    }


def _command(data: DataConfig) -> str:
    if data.preset is None:
        return f"darklens import {data.path} --out TABLE"

    def command(name: str) -> str:
        n, options = getattr(data, name), data.options_of(name)
        asked = "".join(f" --{k} {v * n if k == 'positives' else v}" for k, v in options.items() if k != "galaxies_part")
        return f"darklens simulate {data.preset} --n {n}{asked} --seed {data.seed_of(name)} --out {name.upper()}"

    return "; ".join(map(command, SPLITS))


def _word(option: str, value: object) -> str:
    """Return an option of a preset as part of a table's name; what is a path is named by its own checksum."""
    text = hashlib.sha256(str(value).encode()).hexdigest()[:8] if option == "galaxies" else str(value)
    return option + text.replace("/", "of")
