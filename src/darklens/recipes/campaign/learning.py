"""A round of a campaign: decisions in, a network that has learned from them out, measured on images that did neither.

What is begun is written before it is worked on: a round that was killed is continued by the same command, to the same network.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import Table
from darklens.data.decisions import Decision, Settled, merged, read_decisions, settle, write_decisions
from darklens.errors import InputError
from darklens.files import read_json, write_atomic, write_json
from darklens.models import count_parameters
from darklens.recipes.campaign.beginning import data_card, entry
from darklens.recipes.campaign.folder import DECISIONS, ROUND, Campaign, Log, Progress, as_set, write_table
from darklens.recipes.schema import validate
from darklens.runs import MODEL, Run
from darklens.train.active import FineTuneConfig, fine_tune, mixture
from darklens.train.classification import Classification
from darklens.train.config import TrainConfig
from darklens.train.evaluation import calibrate, evaluate_test, learn_novelty
from darklens.train.image_set import ImageSet
from darklens.train.imbalance import imbalance_of
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance


def learn(
    campaign: Campaign,
    decisions: Path | None = None,
    *,
    config: FineTuneConfig | None = None,
    one_class: bool = False,
    budget_s: float | None = None,
    device: str = "auto",
    log: Log = print,
    progress: Progress,
) -> Campaign:
    """Learn from decisions, in a new round; or continue the round that is begun; see `darklens.Campaign.learn`.

    Raises:
        InputError: the decisions cannot be read, hold nothing new or leave a class without an image, or another round is begun.
        WorkError: the training failed; what was finished before is kept.
    """
    number = campaign.begun
    if number is None:
        number = _begin(campaign, decisions, config or FineTuneConfig(), one_class, budget_s, log)
    elif decisions is not None:
        _same(campaign, number, decisions)
    run, about = Run.open(campaign.round(number)), read_json(campaign.round(number) / ROUND)
    if not run.complete and not _train(campaign, run, about, device, log, progress):
        log(f"stopped; continue with: darklens active learn {campaign.path}")
        return campaign
    _finish(campaign, number, run, about)
    return campaign


def _begin(campaign: Campaign, path: Path | None, config: FineTuneConfig, one_class: bool, budget_s: float | None, log: Log) -> int:
    """Settle what is learned from, and write it down; returns the round's number."""
    if path is None:
        raise InputError(f"no round of {campaign.path} is begun: give the file of decisions to learn from")
    new, old = read_decisions(path, campaign.pool.hashes, campaign.classes), campaign.decisions
    every = merged(old, new)
    if set(every) == set(old):
        raise InputError(f"{path} holds nothing new: its {len(new)} decisions were learned from before; decide about more images")
    settled = settle(every)
    counts = settled.counts(campaign.classes)
    empty = [name for name in campaign.classes if not counts[name]]
    if empty and not (one_class and campaign.images_there("replay") and settled.labels):
        words = ", ".join(f"{counts[name]} {name}" for name in campaign.classes)
        remedy = "decide about more images, or give --one-class to let images of the first training stand for it"
        raise InputError(f"the decisions so far hold {words}: nothing is learned without {empty[0]}; {remedy}")
    for name, voices in settled.conflicts.items():
        log(f"conflict: {name} has {', '.join(f'{n} {answer}' for answer, n in voices.items())} and is left out")
    number = len(campaign.history)
    start = campaign.round(0 if config.start == "first" else number - 1)
    first = Run.open(campaign.round(0))
    recipe = validate(first.recipe)
    recipe = recipe.model_copy(update={"train": TrainConfig(**config.applied(recipe.effective().train.model_dump()))})
    shutil.rmtree(campaign.round(number), ignore_errors=True)  # what a begin that was killed has left
    run = Run.create(campaign.round(number), recipe.model_dump(mode="json"))
    _keep_labelled(campaign, run, settled)
    write_decisions(run.path / DECISIONS, every)
    _write_conflicts(run.path / "conflicts.csv", settled)
    about = {"round": number, "start": str(start.relative_to(campaign.path)), "settings": asdict(config), "budget_s": budget_s}
    before = settle(old).labels
    changed = [name for name, label in settled.labels.items() if before.get(name) != label]
    asked = Counter(_strategies(campaign, changed))
    about |= {"labels": counts, "new": len(changed), "asked": ", ".join(f"{n} {name}" for name, n in sorted(asked.items()))}
    write_json(run.path / ROUND, about)
    return number


def _same(campaign: Campaign, number: int, path: Path) -> None:
    """Make sure that decisions are those of the round that is begun."""
    new = read_decisions(path, campaign.pool.hashes, campaign.classes)
    begun = read_decisions(campaign.round(number) / DECISIONS, campaign.pool.hashes, campaign.classes)
    if set(merged(campaign.decisions, new)) != set(begun):
        raise InputError(
            f"round {number} of {campaign.path} is begun with other decisions than {path}: finish it first with "
            f"darklens active learn {campaign.path}"
        )


def _strategies(campaign: Campaign, ids: Sequence[str]) -> list[str]:
    """Return the strategy that asked for each image, `unasked` for one that somebody decided about unasked."""
    wanted = set(ids)
    found: dict[str, str] = {}
    for folder in campaign.queues:
        with (folder / "queue.csv").open(newline="", encoding="utf-8") as file:
            found |= {row["id"]: row["why"].partition(":")[0] for row in csv.DictReader(file) if row["id"] in wanted}
    return [found.get(name, "unasked") for name in ids]


def _keep_labelled(campaign: Campaign, run: Run, settled: Settled) -> None:
    """Write the images that were labelled for the first time: a table of its own, which does not need the pool any more."""
    there = {name for n in range(1, len(campaign.history)) for name in campaign.labelled_ids(n)}
    new = {name: label for name, label in settled.labels.items() if name not in there}
    if not new:
        return
    found = campaign.pool.fetch(list(new))
    images = np.stack([image for _, image in found.values()])
    write_table(run.path / "labelled", images, list(new.values()), list(found), campaign.classes, "images labelled in a campaign")


def _write_conflicts(path: Path, settled: Settled) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "answer", "voices"])
    writer.writerows([name, answer, n] for name, voices in settled.conflicts.items() for answer, n in voices.items())
    write_atomic(path, buffer.getvalue())


def _train(campaign: Campaign, run: Run, about: dict[str, Any], device: str, log: Log, progress: Progress) -> bool:
    """Train, calibrate, measure; returns False if the user interrupted."""
    begin = time.perf_counter()
    start, config = Run.open(campaign.path / about["start"]), FineTuneConfig(**about["settings"])
    predictor = Predictor(start, device)
    labels = settle(read_decisions(run.path / DECISIONS, campaign.pool.hashes, campaign.classes)).labels
    taught = campaign.labelled(predictor, labels)
    tune, judging = (as_set(Table.open(campaign.path / "images" / name), predictor) for name in ("tune", "judge"))
    assert taught is not None, "no round begins without labels"
    train = mixture(taught, campaign.images("replay", predictor), config)
    settings = validate(run.recipe).train
    log(f"round {about['round']}: {len(taught)} labelled images make {len(train)} to learn from, beginning with {about['start']}")
    task = _task(predictor.task, settings, train)
    _describe(run, start, task, train)
    training, state = fine_tune(
        run, start, task, train, tune, settings,
        device=predictor.device.type, budget_s=about["budget_s"], log=log, progress=progress,
    )  # fmt: skip
    made = provenance() | {"seed": settings.seed, "device": str(predictor.device), "parameters": count_parameters(training.raw)}
    run.write("provenance", made | {"campaign": {"path": str(campaign.path), **about}})
    if state["interrupted"]:
        return False
    predictor = Predictor(run, device)
    calibrate(predictor, tune)
    learn_novelty(predictor, train, tune)
    evaluate_test(predictor, judging, data_card(run, campaign.about, judging, _taught(train)))
    log(f"round {about['round']} took {time.perf_counter() - begin:.0f} s")
    return True


def _task(task: Classification, settings: TrainConfig, train: ImageSet) -> Classification:
    """Return what the network is asked, with the losses of the recipe for the classes of this mixture."""
    imbalance = imbalance_of(settings.imbalance, train.counts, settings.focal_gamma)
    smoothing, auxiliary = settings.label_smoothing, settings.auxiliary
    return replace(task, label_smoothing=smoothing, auxiliary=auxiliary, imbalance=imbalance, offsets=())


def _describe(run: Run, start: Run, task: Classification, train: ImageSet) -> None:
    """Write `model.json`: that of the network it begins with, for the classes of this mixture."""
    prior = {name: count / len(train) for name, count in train.counts.items()}
    write_json(run.path / MODEL, start.model | {"offsets": list(task.offsets), "prior": prior})


def _taught(train: ImageSet) -> dict[str, Any]:
    return {"rows": len(train), "counts": train.counts, "checksum": None, "seed": None, "path": None}


def _finish(campaign: Campaign, number: int, run: Run, about: dict[str, Any]) -> None:
    """Enter a round whose network is measured; written twice, it says the same."""
    every: list[Decision] = read_decisions(run.path / DECISIONS, campaign.pool.hashes, campaign.classes)
    write_decisions(campaign.path / DECISIONS, every)
    assert run.metrics is not None, "entered once it is measured"
    campaign.add(entry(number, run.metrics, campaign.classes, about["labels"], about["new"], about["asked"]))
