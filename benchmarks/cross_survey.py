"""A lens finder of one survey in another: `docs/cross-survey.json` and `docs/cross-survey.md`.

    python -m benchmarks.cross_survey [--difficulty 0.3] [--seeds 3] [--minutes 25] [--tiny]

A network learns from the preset `lens-finding` (seeing, depth and pixels of a deep ground-based survey) and scores the same
sky as other surveys record it, and as the first one would with a single change: seeing, noise, pixels or colours. It is then
adapted to one of them, DES, without labels (AdaBN, ADDA, self-training) and with n labels (fine-tuning), beside a network that
learns from these n labels alone. A seed is one such world: other skies, other weights, other labels; figures are means over seeds
with 95% intervals (Student's t), differences are taken within a seed. What is finished is kept in runs/cross-survey/ and not
computed again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import darklens
from benchmarks.active_learning import interval, quiet
from benchmarks.cross_survey_page import page
from benchmarks.results import ROOT
from benchmarks.surveys import CONDITIONS, SOURCE, SURVEYS, TARGET, preset_of, with_read_noise
from darklens.data import Table, resize_image
from darklens.files import read_json, write_atomic, write_json
from darklens.models import for_trained
from darklens.runs import LAST, MODEL, WEIGHTS, Run
from darklens.simulate import simulate
from darklens.train.active import FineTuneConfig, fine_tune, mixture
from darklens.train.checkpoint import save_weights
from darklens.train.config import TrainConfig
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor, build_model
from darklens.train.provenance import commit, machine

DATA, PAGE = ROOT / "docs" / "cross-survey.json", ROOT / "docs" / "cross-survey.md"
KEPT = ROOT / "runs" / "cross-survey"
SIDE = 64
"""Pixels that the network takes; other surveys' cutouts show the same field and are resampled to them."""
METHODS: dict[str, dict[str, float]] = {
    "moments": {},
    "adda": {"epochs": 2, "lr": 1e-4},
    "self-training": {"epochs": 1, "rounds": 2, "lr": 1e-3},
}
"""Adaptations without labels, and what of their settings differs from `darklens adapt`."""
LEARN = FineTuneConfig(epochs=4, lr=1e-3, share=0.5, repeats=10)
REPLAY = 600
"""Images of the source that are repeated beside labels of the target."""
STARTS, SCRATCH = ("as trained", *METHODS), "scratch"
STEPS = 150
"""Steps of a network that learns from n labels alone, at least."""


@dataclass(frozen=True)
class World:
    """What is simulated.

    Args:
        difficulty: of the preset `lens-finding`.
        train: images of the source that the network learns from.
        pool: images of the target, without labels or, the first n of them, with.
        test: images of each condition.
        train_positives: part of the source's images that are lenses.
        positives: part of pool and test that are.
        epochs: of the first network.
        labels: how many labels of the target are given, besides none and all.
        confidence: probability from which on self-training takes an answer for a label.
    """

    difficulty: float = 0.3
    train: int = 3000
    pool: int = 3000
    test: int = 2000
    train_positives: float = 0.25
    positives: float = 0.1
    epochs: int = 8
    labels: tuple[int, ...] = (30, 100, 300, 1000)
    confidence: float = 0.9

    @property
    def name(self) -> str:
        """A folder's name."""
        return "-".join("_".join(map(str, v)) if isinstance(v, tuple) else f"{v:g}" for v in astuple(self))

    def columns(self, start: str) -> tuple[int, ...]:
        """Return the numbers of labels that a row of the table has a figure for."""
        return (*self.labels, self.pool) if start == SCRATCH else (0, *self.labels)

    def figures(self) -> list[str]:
        """Return the names of all figures of a seed."""
        return list(dict.fromkeys([*CONDITIONS, *(cell(start, n) for start in (*STARTS, SCRATCH) for n in self.columns(start))]))


def cell(start: str, n: int) -> str:
    """Return the name of a figure; without a label or an adaptation it is that of the condition."""
    return TARGET if (start, n) == (STARTS[0], 0) else f"{start}, {n} labels"


TINY = World(0.0, 96, 96, 96, 0.25, 0.25, 2, (16, 32), 0.5)


def table_of(folder: Path, condition: str, part: str, world: World, seed: int) -> Table:
    """Simulate a table, or go on with it: test images of all conditions show the same sky."""
    number = ("train", "pool", "test").index(part)
    share = world.train_positives if part == "train" else world.positives
    chosen = preset_of(condition, world.difficulty, share)
    return simulate(chosen, getattr(world, part), seed=10 * seed + number + 1, out=folder / f"{part}-{condition}")


def images_of(table: Table, task: Any) -> ImageSet:
    """Return a table's images in the pixels that the network takes."""
    images = np.stack([resize_image(image, (SIDE, SIDE)) for image in table.images()])
    return ImageSet(images, task.encode(table.labels), table.ids, task.classes)


def nested_labels(labels: np.ndarray, least: int, seed: int) -> np.ndarray:
    """Return an order of all rows whose first `least`, and so any more, hold every class."""
    rng, classes = np.random.default_rng(seed), len(np.unique(labels))
    while True:
        order = rng.permutation(len(labels))
        if len(np.unique(labels[order[:least]])) == classes:
            return order


def settings_of(method: str, world: World) -> dict[str, float]:
    """Return what an adaptation is told."""
    return METHODS[method] | ({"confidence": world.confidence} if method == "self-training" else {})


class Study:
    """One world and what its networks score; every figure is written as soon as it is known.

    Args:
        folder: tables and runs, removed when all is done.
        world: sizes.
        seed: of everything.
        found: file of the figures.
    """

    def __init__(self, folder: Path, world: World, seed: int, found: Path) -> None:
        self.folder, self.world, self.seed, self.file = folder, world, seed, found
        self.scores: dict[str, dict[str, float]] = read_json(found) if found.is_file() else {}
        self.tests: dict[str, ImageSet] = {}

    def carry_out(self) -> dict[str, dict[str, float]]:
        """Compute what is missing."""
        if all(name in self.scores for name in self.world.figures()):
            return self.scores
        first = self.first()
        for condition in CONDITIONS:
            self.score(condition, condition, lambda: Predictor(first, "cpu"))
        pool_table = table_of(self.folder, TARGET, "pool", self.world, self.seed)
        task = Predictor(first, "cpu").task
        pool = images_of(pool_table, task)
        pool = pool.take(nested_labels(pool.labels, self.world.labels[0], self.seed))
        train = images_of(table_of(self.folder, SOURCE, "train", self.world, self.seed), task)
        replay = train.take(np.random.default_rng(self.seed).permutation(len(train))[:REPLAY])
        for name in STARTS:
            start = self.adapted(first, name, pool_table)
            if name != STARTS[0]:
                self.score(cell(name, 0), TARGET, lambda start=start: Predictor(start, "cpu"))
            for n in self.world.labels:
                learn = mixture(pool.take(np.arange(n)), replay, LEARN)
                self.score(cell(name, n), TARGET, lambda s=start, m=learn: self.taught(s, m, LEARN.epochs, LEARN.lr))
        blank = self.blank(first)
        for n in self.world.columns(SCRATCH):
            few = pool.take(np.arange(n))
            epochs = max(self.world.epochs, -(-STEPS // max(1, n // 32)))
            self.score(cell(SCRATCH, n), TARGET, lambda m=few, e=epochs: self.taught(blank, m, e, 4e-3))
        shutil.rmtree(self.folder)
        return self.scores

    def score(self, name: str, condition: str, network: Callable[[], Predictor]) -> None:
        """Measure a network on the test images of a condition, unless that was done."""
        if name in self.scores:
            return
        begin, predictor = time.perf_counter(), network()
        if condition not in self.tests:
            self.tests = {condition: images_of(table_of(self.folder, condition, "test", self.world, self.seed), predictor.task)}
        test = self.tests[condition]
        lens = predictor.answers_of(test).probabilities[:, 1]
        ap, auc = (float(f(test.labels, lens)) for f in (average_precision_score, roc_auc_score))
        self.scores[name] = {"average_precision": ap, "auc": auc}
        write_json(self.file, self.scores)
        print(f"seed {self.seed}, {name}: AP {ap:.3f}, AUC {auc:.3f}, {time.perf_counter() - begin:.0f} s", flush=True)

    def first(self) -> Run:
        """Train on the source, or go on with that."""
        train, test = (table_of(self.folder, SOURCE, part, self.world, self.seed) for part in ("train", "test"))
        recipe = {
            "name": "cross-survey",
            "data": {"path": str(train.path), "test_path": str(test.path), "fractions": [0.9, 0.1, 0.0], "seed": self.seed},
            "model": {"name": "p4m-resnet"},
            "preprocess": {"bin": 2, "normalise": "min-max"},
            "train": {
                "task": "binary", "epochs": self.world.epochs, "batch_size": 32, "lr": 4e-3, "schedule": "onecycle",
                "ema": None, "augment": ["dihedral", "shift"], "precision": "float32", "seed": self.seed,
            },
        }  # fmt: skip
        return Run.open(darklens.train(recipe, out=self.folder / "first", device="cpu", log=quiet, progress=quiet).path)

    def adapted(self, first: Run, method: str, pool: Table) -> Run:
        """Adapt the first network to the pool without its labels, unless that was done."""
        if method == STARTS[0]:
            return first
        place = self.folder / f"adapted-{method}"
        if not place.is_dir():
            darklens.adapt(
                first, pool.path, place, method=method, source=self.folder / f"train-{SOURCE}", resize=True, device="cpu",
                log=quiet, test_fraction=0.0, seed=self.seed, source_images=self.world.train, **settings_of(method, self.world),
            )  # fmt: skip
        return Run.open(place)

    def blank(self, like: Run) -> Run:
        """Return a run with weights that nobody trained."""
        run = Run.create(self.folder / "blank", like.recipe, force=True)
        described = like.model | {"seed": self.seed + 1000}
        write_json(run.path / MODEL, described)
        fresh = build_model(described | {"options": for_trained(described["options"])}, Predictor(like, "cpu").task.outputs)
        save_weights(run.path / WEIGHTS, fresh.state_dict())
        return run

    def taught(self, start: Run, train: ImageSet, epochs: int, lr: float) -> Predictor:
        """Train on from a run; its last weights are taken: labels to choose an epoch by would be labels too."""
        run = Run.create(self.folder / "taught", start.recipe, force=True)
        write_json(run.path / MODEL, start.model)
        config = TrainConfig(**replace(LEARN, epochs=epochs, lr=lr).applied(start.recipe["train"]))
        task, some = Predictor(start, "cpu").task, train.take(np.arange(min(16, len(train))))
        torch.manual_seed(self.seed)
        fine_tune(run, start, task, train, some, config, device="cpu", log=quiet)
        (run.path / WEIGHTS).write_bytes((run.path / LAST).read_bytes())
        return Predictor(run, "cpu")


def summary(world: World, found: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return every figure with its interval over seeds, and its difference within a seed to what it is compared with."""

    def values(name: str, metric: str = "average_precision") -> np.ndarray:
        return np.array([scores[name][metric] for scores in found])

    def row(name: str, against: str | None) -> dict[str, Any]:
        measured = {"average_precision": interval(values(name)), "auc": interval(values(name, "auc"))}
        return measured | ({} if against in (None, name) else {"difference": interval(values(name) - values(against))})

    cells = []
    for start in (*STARTS, SCRATCH):
        cells.append({"start": start, "cells": [{"labels": n} | row(cell(start, n), TARGET) for n in world.columns(start)]})
    return {
        "about": "A seed" + __doc__.split("A seed")[1].split(" What is")[0].replace("\n", " "),
        "world": world.__dict__,
        "target": TARGET,
        "conditions": [{"name": c, "what": what} | row(c, SOURCE) for c, what in CONDITIONS.items()],
        "adaptation": cells,
        "settings": {name: settings_of(name, world) for name in METHODS} | {"fine-tuning": LEARN.__dict__ | {"replay": REPLAY}},
        "seeds": len(found),
        "cameras": {name: [with_read_noise(camera).as_dict() for camera in cameras] for name, cameras in SURVEYS.items()},
        "machine": machine(),
        "commit": commit(),
    }


def worlds(world: World, seeds: int, minutes: float) -> Iterator[dict[str, dict[str, float]]]:
    """Yield the figures of one seed after the other, as long as the next one should end within the time."""
    begin = time.perf_counter()
    for seed in range(seeds):
        spent = time.perf_counter() - begin
        if seed and spent * (1 + 1 / seed) > 60 * minutes:
            print(f"{seed} of {seeds} seeds fit into {minutes:g} minutes; the same command goes on")
            return
        yield Study(KEPT / world.name / f"seed-{seed}", world, seed, KEPT / world.name / f"seed-{seed}.json").carry_out()


def main(arguments: list[str]) -> int:
    """Compute what is missing, then write the figures and their page; after every seed, so that an end comes at no bad time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cross_survey", description=__doc__.splitlines()[0])
    parser.add_argument("--difficulty", type=float, default=World.difficulty, help="of the lenses, 0 to 1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=25.0, help="no seed is begun that would probably not end within them")
    parser.add_argument("--tiny", action="store_true", help="a small world, to see that everything works; writes into runs/")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    world = TINY if asked.tiny else World(asked.difficulty)
    data, text = (KEPT / "tiny.json", KEPT / "tiny.md") if asked.tiny else (DATA, PAGE)
    found = []
    for scores in worlds(world, 1 if asked.tiny else asked.seeds, asked.minutes):
        found.append(scores)
        write_json(data, summary(world, found))
        write_atomic(text, page(read_json(data)))
        print(f"{data} and {text}: {len(found)} seeds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
