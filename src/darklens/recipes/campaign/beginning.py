"""How a campaign begins: a first run, images that measure it, and a pool whose labels are not looked at."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, content_hash, read, resize_image
from darklens.errors import InputError
from darklens.files import read_json, write_json
from darklens.recipes.campaign.folder import ABOUT, Campaign, Log, Progress, write_table
from darklens.recipes.campaign.pool import Pool, Skip
from darklens.recipes.execution import execute
from darklens.recipes.experiments import only_classification
from darklens.recipes.schema import DataConfig, Recipe, validate
from darklens.recipes.splits import prepare
from darklens.runs import LAST, MODEL, NOVELTY, RECIPE, VALIDATION, WEIGHTS, Run
from darklens.train.active.fine_tuning import seen
from darklens.train.adaptation.images import spread
from darklens.train.columns import refuse_columns
from darklens.train.config import Preprocess
from darklens.train.evaluation import FEWEST, judge
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor
from darklens.train.preprocess import check

KEPT = (RECIPE, MODEL, WEIGHTS, LAST, VALIDATION, NOVELTY, "novelty.json", "calibration.json", "provenance.json", "history.csv")
"""What round 0 takes from the first run; metrics and predictions are those of the campaign's own judging images."""
TUNE = 3
"""Every so many-th image of a given validation set, by content, sets epoch and temperature; the others measure."""
FEW = 48
"""Images of a split that is drawn only because a recipe has three."""
Labelled = tuple[np.ndarray, np.ndarray]
"""Images `(n, bands, H, W)` and class indices."""


def begin(
    pool: Path,
    out: Path,
    *,
    run: Run | None = None,
    recipe: Recipe | None = None,
    validation: Path | None = None,
    replay: int = 4000,
    seed: int = 0,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    budget_s: float | None = None,
    device: str = "auto",
    force: bool = False,
    on_skip: Skip,
    log: Log,
    progress: Progress,
) -> Campaign:
    """Begin a campaign, or continue to begin it; see `darklens.Campaign.start`.

    Raises:
        InputError: the folder is taken, no first run, no usable pool, or validation images without one of the classes.
        WorkError: the first training failed.
    """
    if run is not None and recipe is None:
        first, preprocess = str(run.path), [run.model["preprocess"]]
    elif recipe is not None and run is None:
        first, preprocess = recipe.name, [one.preprocess.model_dump() for one in recipe.single()]
    else:
        raise InputError("a campaign begins with a trained run or with a recipe: give one of --run and --recipe")
    refuse_columns([name for one in preprocess for name in one.get("columns", ())], "a campaign")
    out = Path(out)
    settings: dict[str, Any] = {
        "pool": {"path": str(Path(pool).resolve()), "resize": resize, "hdu": hdu},
        "first": first,
        "recipe": None if recipe is None else recipe.model_dump(mode="json"),
        "validation": None if validation is None else str(validation),
        "replay": replay,
        "seed": seed,
        "group": group or {},
    }
    if _there(out, settings, force):
        log(f"{out} is begun already: choose images with darklens active next {out}")
        return Campaign.open(out)
    if run is None:
        assert recipe is not None, "one of the two is given"
        (run,) = _single(recipe, out, budget_s, device, log, progress)
        if not run.complete:
            log(f"stopped: continue with the same command; the first run is in {run}")
            return Campaign(out)
    predictor = Predictor(_copied(run, out / "rounds" / "000"), device)
    settings |= {"classes": list(predictor.classes), "shape": list(predictor.shape)}
    sets = _sets(run, predictor, out, validation, replay, seed, group or {}, resize, hdu, on_skip, log, progress)
    held = {content_hash(image) for images, _ in sets.values() for image in images}
    scanned, counts = Pool(Path(settings["pool"]["path"]), predictor.shape, resize, hdu).scan(
        without=held, on_skip=on_skip, progress=lambda n: progress("looking through the pool", n, 0)
    )
    scanned.save(out / "pool.parquet")
    left = f"{counts['copies']} copies and {counts['held_out']} images of training or validation are never asked for"
    log(f"{len(scanned.hashes)} images of {pool} may be asked for; {left}")
    settings["pool"] |= {"rows": len(scanned.hashes), "fingerprint": scanned.fingerprint} | counts
    _write_sets(out / "images", sets, predictor.classes)
    _judge_first(out, predictor, sets["judge"], settings)
    write_json(out / ABOUT, settings | {"complete": True})
    return Campaign.open(out)


def _there(out: Path, settings: dict[str, Any], force: bool) -> bool:
    """Make or find the folder; returns whether a campaign with these settings is begun there already."""
    if out.is_file():
        raise InputError(f"{out} is a file: choose a folder for the campaign")
    if (out / ABOUT).is_file() and force:
        shutil.rmtree(out)
    if not (out / ABOUT).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} holds something that is not a campaign: choose another --out")
        write_json(out / ABOUT, settings | {"complete": False})
        return False
    old = read_json(out / ABOUT)
    for key, value in settings.items():
        there = {k: old["pool"].get(k) for k in value} if key == "pool" else old.get(key)
        if there != value:
            raise InputError(f"{out} holds a campaign with another {key}: choose another --out, or --force to begin anew")
    return bool(old.get("complete"))


def _single(recipe: Recipe, out: Path, budget_s: float | None, device: str, log: Log, progress: Progress) -> list[Run]:
    only_classification(recipe, "a campaign")
    if len(recipe.single()) > 1:
        raise InputError(f"recipe {recipe.name!r} has {len(recipe.single())} networks and a campaign one: give --set also=[]")
    return execute(recipe, out / "first", device=device, budget_s=budget_s, data=out / "data", log=log, progress=progress)


def _copied(run: Run, to: Path) -> Run:
    """Return the first run as round 0: the campaign does not depend on the run's own folder any more."""
    run.weights  # noqa: B018 -- says what is missing before anything is copied
    to.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, to / name)
    if not (to / WEIGHTS).is_file():
        shutil.copyfile(run.weights, to / WEIGHTS)
    return Run.open(to)


def _sets(
    run: Run, predictor: Predictor, out: Path, validation: Path | None, replay: int, seed: int, group: dict[str, str],
    resize: bool, hdu: int | str | None, on_skip: Skip, log: Log, progress: Progress,
) -> dict[str, Labelled]:  # fmt: skip
    """Return images and classes of `replay`, `tune` and `judge`."""
    found = {} if validation and not replay else _own(run, predictor, out, replay, bool(validation), log, progress)
    if validation:
        predictor.task = predictor.task.with_group(group)
        tune, judging = _divided(*_labelled(validation, predictor, resize, hdu, on_skip), seed)
        found |= {"tune": tune, "judge": judging}
    for name in ("tune", "judge"):
        _check_counts(found[name][1], predictor.classes, name, validation or run.path)
    measured = {content_hash(image) for name in ("tune", "judge") for image in found[name][0]}
    images, labels = found.get("replay", (np.zeros((0, *predictor.shape), np.float32), np.zeros(0, np.int64)))
    keep = np.array([content_hash(image) not in measured for image in images], dtype=bool)
    found["replay"] = images[keep], labels[keep]
    log(", ".join(f"{len(found[name][1])} images to {name}" for name in ("replay", "tune", "judge")))
    return found


def _own(
    run: Run, predictor: Predictor, out: Path, replay: int, measured: bool, log: Log, progress: Progress
) -> dict[str, Labelled]:
    """Return images of the run's own splits, as its training had them; of tables that are gone, no more is drawn than is needed."""
    plain = Preprocess()  # the images themselves: what a network sees of them is made when it is needed
    (recipe,) = validate(run.recipe).effective().model_copy(update={"also": []}).single()
    recipe = recipe.model_copy(update={"preprocess": plain, "model": recipe.model.model_copy(update={"preprocess": plain})})
    stored = (((run.data or {}).get("splits") or {}).get("validation") or {}).get("path")
    beside = Path(stored).parent if stored and (Path(stored) / MANIFEST).is_file() else None
    if recipe.data.preset and beside is None:
        recipe = recipe.model_copy(update={"data": _fewer(recipe.data, replay, measured)})
    splits = prepare(recipe, beside or out / "data", log, progress)
    train = splits.train
    pairs = {"replay": _fresh(train, replay) if isinstance(train, FreshImages) else _sample(train, replay)}
    pairs |= {"tune": (splits.validation.pixels, splits.validation.labels), "judge": (splits.test.pixels, splits.test.labels)}
    order = np.array([predictor.classes.index(name) for name in splits.task.classes])
    return {name: (images, order[labels]) for name, (images, labels) in pairs.items()}


def _fewer(data: DataConfig, replay: int, measured: bool) -> DataConfig:
    """Return a section that draws as many images as are replayed, and a few of the splits that something else stands for."""
    most = {"train": max(replay, FEW)} | ({"validation": FEW, "test": FEW} if measured else {})
    rows = {name: min(n, getattr(data, name)) for name, n in most.items()}
    changes: dict[str, Any] = rows | {"subset": None}
    if data.positives:
        parts = {name: getattr(data.positives, name) * n / getattr(data, name) for name, n in rows.items()}
        changes["positives"] = data.positives.model_copy(update={name: max(1, round(n)) for name, n in parts.items()})
    return data.model_copy(update=changes)


def _fresh(train: FreshImages, n: int) -> Labelled:
    return train.draw(0, min(n, len(train)))


def _sample(train: ImageSet, n: int) -> Labelled:
    """Return about n training images in their own proportions, at least one of each class that is there."""
    part = min(1.0, n / len(train))
    rows = [np.flatnonzero(train.labels == k) for k in np.unique(train.labels)]
    chosen = np.sort(np.concatenate([r[spread(len(r), max(1, round(part * len(r))))] for r in rows])) if n else np.zeros(0, int)
    return train.images[chosen], train.labels[chosen]


def _labelled(path: Path, predictor: Predictor, resize: bool, hdu: int | str | None, on_skip: Skip) -> Labelled:
    """Read a validation set; copies count once."""
    found: dict[str, tuple[np.ndarray, int]] = {}
    for record in read(path, hdu=hdu, on_skip=lambda where, why: on_skip(str(where), why)):
        if record.label is None:
            on_skip(record.source or record.id, "has no label: put validation images into one folder per class")
            continue
        label = int(predictor.task.encode(np.array([record.label], dtype=object))[0])
        try:
            image = resize_image(record.image, predictor.shape[1:]) if resize else record.image
            found.setdefault(content_hash(image := check(image, predictor.shape, record.source or record.id)), (image, label))
        except InputError as error:
            on_skip(record.id, str(error))
    order = sorted(found)
    if not order:
        raise InputError(f"{path} has no labelled image that fits the model: give a table, or one folder per class")
    return np.stack([found[k][0] for k in order]), np.array([found[k][1] for k in order], dtype=np.int64)


def _divided(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[Labelled, Labelled]:
    """Divide images in the order of their contents, class by class, so that both sides have their share of rare ones."""
    rng = np.random.default_rng(seed)
    tune = np.zeros(len(labels), bool)
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        tune[rows[: len(rows) // TUNE]] = True
    return (images[tune], labels[tune]), (images[~tune], labels[~tune])


def _check_counts(labels: np.ndarray, classes: tuple[str, ...], name: str, where: Path) -> None:
    counts = {c: int((labels == k).sum()) for k, c in enumerate(classes)}
    empty = [c for c, n in counts.items() if not n]
    if empty or len(labels) < FEWEST:
        words = ", ".join(f"{n} {c}" for c, n in counts.items())
        least = f"{TUNE} of each class" if TUNE * len(classes) > FEWEST else f"{FEWEST} images"
        raise InputError(f"{where} leaves {words} to {name}: a campaign is measured on every class, give at least {least}")


def _write_sets(folder: Path, sets: dict[str, Labelled], classes: tuple[str, ...]) -> None:
    uses = {"replay": "of the first training, to remember", "tune": "to set epoch and temperature", "judge": "to measure with"}
    for name, use in uses.items():
        images, labels = sets[name]
        if len(labels):
            ids = [f"{name}-{i:06d}" for i in range(len(labels))]
            write_table(folder / name, images, [classes[k] for k in labels], ids, classes, f"images {use}")


def _judge_first(out: Path, predictor: Predictor, pair: Labelled, settings: dict[str, Any]) -> None:
    """Measure the first run on the judging images, and open the history."""
    ids = np.array([f"judge-{i:06d}" for i in range(len(pair[1]))], dtype=object)
    images = seen(predictor, *pair, ids)
    card = data_card(predictor.run, settings, images, {})
    metrics = judge(predictor, images, predictor.run, card)
    write_json(out / "history.json", {"rounds": [entry(0, metrics, predictor.classes, {}, 0, "")]})


def data_card(run: Run, settings: dict[str, Any], images: ImageSet, train: dict[str, Any]) -> dict[str, Any]:
    """Return the data card of a round."""
    first = f"campaign on {settings['pool']['path']}, begun with {settings['first']}"
    test = {"rows": len(images), "counts": images.counts, "checksum": None, "path": None, "seed": None}
    splits = {"train": train, "test": test}
    return {
        "summary": f"{first}; measured on images that neither taught nor were asked for",
        "source": settings["pool"]["path"],
        "how_to_repeat": "darklens active learn CAMPAIGN DECISIONS",
        "pixel_scale": run.model.get("pixel_scale"),
        "flux_unit": run.model.get("flux_unit"),
        "shape": list(images.shape),
        "classes": list(images.classes),
        "splits": {name: split for name, split in splits.items() if split},
        "disjoint": "checked: by content hash, no image of the pool, and none that taught, is among those that measure",
    }


def entry(
    number: int, metrics: dict[str, Any], classes: tuple[str, ...], labels: dict[str, int], new: int, asked: str
) -> dict[str, Any]:
    """Return a line of the history.

    Args:
        number: of the round.
        metrics: on the judging images.
        classes: their names; for two classes, the average precision is that of the second.
        labels: how many images people gave each answer so far.
        new: images that this round added.
        asked: by which strategies they were chosen.
    """
    of_one = len(classes) == 2
    precision = metrics["average_precision_per_class"][classes[-1]] if of_one else metrics["average_precision"]
    kept = {"average_precision": precision, "auc": metrics["auc"][classes[-1]] if of_one else metrics["auc_macro"]}
    return {
        "round": number,
        "run": f"rounds/{number:03d}",
        "labels": labels,
        "new": new,
        "asked": asked,
        "metrics": kept | {"accuracy": metrics["accuracy"]},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
