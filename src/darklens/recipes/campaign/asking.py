"""What a person should label next: a queue of images, with a sheet to look at and a file to fill in."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darklens.data.decisions import Decision, settle, write_decisions
from darklens.errors import InputError, unknown
from darklens.evaluate.label_sheet import pictures, save_label_sheet
from darklens.files import write_atomic
from darklens.recipes.campaign.folder import Campaign, Log
from darklens.train.active import STRATEGIES, Candidates, pick
from darklens.train.active.candidates import ANCHORS, seen_by
from darklens.train.adaptation.images import spread
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor


@dataclass(frozen=True)
class Asked:
    """An image of a queue.

    Args:
        id: its name in the pool.
        source: file that it came from.
        why: what made it worth asking for.
        score: by the strategy's own measure.
    """

    id: str
    source: str
    why: str
    score: float


@dataclass(frozen=True)
class Queue:
    """What a person should label next.

    Args:
        path: folder with `queue.csv`, `decisions.csv` to fill in, and pictures.
        images: in the order of the queue.
        pictures: `(H, W, 3)` in 0 to 1 of each, the row index growing with +y.
    """

    path: Path
    images: tuple[Asked, ...]
    pictures: Sequence[np.ndarray]


def ask(
    campaign: Campaign,
    n: int,
    strategy: str,
    *,
    device: str = "auto",
    page: Callable[[Queue, tuple[str, ...]], None] = lambda queue, classes: None,
    log: Log = print,
) -> Queue:
    """Choose images of the pool, none of which was asked for or decided about before; see `darklens.Campaign.next`.

    Args:
        campaign: the campaign.
        n: how many.
        strategy: one of `STRATEGIES`.
        device: where to compute.
        page: writes more into the queue's folder before it gets its name.
        log: receives sentences.

    Raises:
        InputError: an unknown strategy, or nothing is left to ask for.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    done = {*campaign.asked, *(d.id for d in campaign.decisions)}
    left = {name for name in campaign.pool.hashes if name not in done}
    if not left:
        raise InputError(f"all {len(campaign.pool.hashes)} images of the pool were asked for: begin a campaign with a larger pool")
    number = 1 + (int(campaign.queues[-1].name) if campaign.queues else 0)
    predictor = Predictor(campaign.current, device)
    ids: list[str] = []
    batches = campaign.pool.stream(left)
    answers, features = seen_by(predictor, (_noted(records, images, ids) for records, images in batches))
    candidates = Candidates(answers, features, *_known(campaign, predictor, features.shape[1]), campaign.classes)
    picks = pick(strategy, n, candidates, np.random.default_rng((campaign.about["seed"], number)))
    found = campaign.pool.fetch([ids[p.index] for p in picks])
    asked = tuple(Asked(name, record.source, p.why, p.score) for p, (name, (record, _)) in zip(picks, found.items(), strict=True))
    path = _write(campaign, number, Queue(Path(), asked, pictures([image for _, image in found.values()])), page)
    if len(asked) < n:
        log(f"only {len(asked)} images were left to ask for")
    log(f"{len(asked)} of {len(ids)} images chosen by {strategy}: label them in {path}/label.html, or fill in decisions.csv there")
    return Queue(path, asked, [])


def _noted(records: list, images: np.ndarray, ids: list[str]) -> np.ndarray:
    ids += [record.id for record in records]
    return images


def _known(campaign: Campaign, predictor: Predictor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and answers of what the network has learned from: all that people labelled, and some of the rest."""
    sets = [campaign.images("replay", predictor), campaign.labelled(predictor, settle(campaign.decisions).labels)]
    found = [_looked(s.take(spread(len(s), ANCHORS // 2)) if i == 0 else s, predictor) for i, s in enumerate(sets) if s is not None]
    if not found:
        return np.zeros((0, width), np.float32), np.zeros((0, len(campaign.classes)))
    features, answers = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return features, answers


def _looked(images: ImageSet, predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    features, _ = predictor.features_of(images)
    return features, predictor.answers_of(images).probabilities


def _write(campaign: Campaign, number: int, queue: Queue, page: Callable[[Queue, tuple[str, ...]], None]) -> Path:
    """Write a queue's folder, whole or not at all."""
    folder = campaign.path / "queues"
    folder.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    try:
        queue = Queue(draft, queue.images, queue.pictures)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["id", "source", "why", "score"])
        writer.writerows([a.id, a.source, a.why, f"{a.score:.6g}"] for a in queue.images)
        write_atomic(draft / "queue.csv", buffer.getvalue())
        write_decisions(draft / "decisions.csv", [Decision(a.id, "") for a in queue.images])
        save_label_sheet(draft / "sheet.png", queue.pictures, [a.id for a in queue.images], f"Queue {number}")
        page(queue, campaign.classes)
        draft.chmod(0o755)  # temporary folders are private
        os.replace(draft, folder / f"{number:03d}")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / f"{number:03d}"
