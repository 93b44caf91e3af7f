"""How many labels a network needs, by who chooses them: `docs/active-learning.json` and `docs/active-learning.png`.

    python -m benchmarks.active_learning [--positives 0.05] [--difficulty 0.3] [--seeds 3] [--minutes 15] [--tiny]

A simulation with an oracle. A network is trained on a small simulation of easy lenses, half of the images, and meets a survey in
which one image in twenty is a lens, and a harder one. It asks for labels, batch by batch; the oracle answers truly. Every strategy
begins with the same network, sees the same pool, learns in the same way, and is measured on the same test images of the survey,
which neither teach nor are asked for. A seed is one such world; figures are means over seeds with 95% intervals (Student's t), and
differences to random choice are taken within a seed. What is finished is kept in runs/active-learning/ and not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.metrics import average_precision_score

from benchmarks.results import ROOT
from darklens.files import read_json, write_json
from darklens.recipes import Recipe, Splits, validate
from darklens.recipes.execution import train_network
from darklens.runs import LAST, MODEL, WEIGHTS, Run
from darklens.simulate import configured, simulate
from darklens.train.active import STRATEGIES, Candidates, FineTuneConfig, fine_tune, mixture, pick
from darklens.train.classification import Classification
from darklens.train.config import TrainConfig
from darklens.train.distributed import connect
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor
from darklens.train.provenance import commit, machine

DATA, PICTURE = ROOT / "docs" / "active-learning.json", ROOT / "docs" / "active-learning.png"
KEPT = ROOT / "runs" / "active-learning"
COLOURS = {
    "random": "#6b6b6b", "uncertainty": "#0072B2", "diversity": "#009E73", "expected-gain": "#D55E00",
    "badge": "#56B4E9", "likely": "#CC79A7", "mixed": "#E69F00",
}  # fmt: skip
DEFAULT = ("random", "uncertainty", "diversity", "expected-gain", "mixed")
PRESET = "lens-finding"
TASK = Classification(("nonlens", "lens"), {}, single_logit=True)
LEARN = FineTuneConfig(epochs=5, lr=2e-3, share=0.5, repeats=3)


@dataclass(frozen=True)
class World:
    """What is simulated.

    Args:
        positives: part of the survey's images that are lenses.
        difficulty: of the survey's lenses, see the preset `lens-finding`; the first network learns from those of difficulty 0.
        first: simulated images that the first network learns from, half of them lenses.
        pool: images of the survey that may be asked for.
        test: images of the survey that measure.
        batch: labels a round.
        rounds: how many.
        epochs: of the first network.
    """

    positives: float = 0.05
    difficulty: float = 0.3
    first: int = 300
    pool: int = 2000
    test: int = 2000
    batch: int = 50
    rounds: int = 6
    epochs: int = 12

    @property
    def labels(self) -> list[int]:
        """Labels of the survey after each round."""
        return [self.batch * k for k in range(self.rounds + 1)]


def images_of(name: str, n: int, seed: int, positives: float, difficulty: float) -> ImageSet:
    """Simulate images, or read those that were simulated before."""
    share = Fraction(str(positives))
    place = KEPT / "data" / f"{PRESET}-{share.numerator}-{share.denominator}-difficulty{difficulty:g}-n{n}-seed{seed}"
    table = simulate(configured(PRESET, positives=share, difficulty=difficulty), n, seed=seed, out=place)
    ids = np.array([f"{name}-{i}" for i in range(n)], dtype=object)
    return ImageSet(table.images(), TASK.encode(table.labels), ids, TASK.classes)


def recipe_of(world: World, seed: int) -> Recipe:
    """Return how the first network is trained: the symmetric network of lens finding, on images binned to half their pixels."""
    return validate({
        "name": "active-learning",
        "data": {"preset": PRESET},
        "model": {"name": "p4m-resnet"},
        "preprocess": {"bin": 2},
        "train": {
            "task": "binary", "epochs": world.epochs, "batch_size": 32, "lr": 4e-3, "ema": None,
            "augment": ["dihedral", "shift"], "precision": "float32", "seed": seed,
        },
    })  # fmt: skip


def quiet(*_: object) -> None:
    """Say and show nothing."""


def first_network(folder: Path, world: World, seed: int, labelled: ImageSet) -> Run:
    """Train on the simulation; the last epoch's network is taken: labels to choose an epoch by would be labels too."""
    recipe = recipe_of(world, seed)
    run = Run.create(folder, recipe.model_dump(mode="json"))
    card = {"pixel_scale": None, "flux_unit": None}
    train_network(run, recipe, Splits(TASK, labelled, labelled, labelled, card), team=connect("cpu"), log=quiet, progress=quiet)
    return _last(run)


def _last(run: Run) -> Run:
    (run.path / WEIGHTS).write_bytes((run.path / LAST).read_bytes())
    return run


def one_strategy(folder: Path, strategy: str, first: Run, world: World, seed: int, sets: dict[str, ImageSet]) -> dict[str, Any]:
    """Let a strategy ask and the network learn; returns average precision and lenses found after each round."""
    pool, test, labelled = sets["pool"], sets["test"], sets["first"]
    taken, run, rows = np.zeros(0, np.int64), first, []
    config = TrainConfig(**LEARN.applied(first.recipe["train"]))
    for number in range(world.rounds + 1):
        predictor = Predictor(run, "cpu")
        precision = float(average_precision_score(test.labels, predictor.answers_of(test).probabilities[:, 1]))
        rows.append({"labels": len(taken), "average_precision": precision, "found": int(pool.labels[taken].sum())})
        if number == world.rounds:
            break
        left = np.setdiff1d(np.arange(len(pool)), taken)
        known = labelled.joined(pool.take(taken)) if len(taken) else labelled
        candidates = Candidates(*_seen(predictor, pool.take(left)), *reversed(_seen(predictor, known)), predictor.classes)
        picks = pick(strategy, world.batch, candidates, np.random.default_rng((seed, number)))
        taken = np.concatenate([taken, left[[p.index for p in picks]]])
        train = mixture(pool.take(taken), labelled, LEARN)
        before, run = run, Run.create(folder / f"{strategy}-{number}", first.recipe)
        write_json(run.path / MODEL, before.model)
        torch.manual_seed(seed)
        fine_tune(run, before, TASK, train, labelled, config, device="cpu", log=quiet)
        _last(run)
    return {"strategy": strategy, "seed": seed, "rows": rows}


def _seen(predictor: Predictor, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    return predictor.answers_of(images).probabilities, predictor.features_of(images)[0]


def one_seed(world: World, seed: int, strategies: list[str]) -> list[dict[str, Any]]:
    """Return what every strategy reached in one world; what is kept already is read."""
    place = KEPT / _name(world)
    files = {name: place / f"{name}-seed{seed}.json" for name in strategies}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        survey = world.positives, world.difficulty
        sets = {
            "first": images_of("first", world.first, 3 * seed, 0.5, 0.0),
            "pool": images_of("pool", world.pool, 3 * seed + 1, *survey),
            "test": images_of("test", world.test, 3 * seed + 2, *survey),
        }
        with tempfile.TemporaryDirectory() as folder:
            first = first_network(Path(folder) / "first", world, seed, sets["first"])
            for name in missing:
                begin = time.perf_counter()
                found = one_strategy(Path(folder), name, first, world, seed, sets)
                write_json(files[name], found)
                print(f"{_sentence(found)}, {time.perf_counter() - begin:.0f} s", flush=True)
    return [read_json(file) for file in files.values()]


def _sentence(found: dict[str, Any]) -> str:
    first, last = found["rows"][0], found["rows"][-1]
    grown = f"AP {first['average_precision']:.3f} -> {last['average_precision']:.3f}"
    return f"seed {found['seed']}, {found['strategy']}: {grown} with {last['found']} lenses asked for, {last['labels']} labels"


def _name(world: World) -> str:
    return "-".join(f"{value:g}" for value in astuple(world))


def interval(values: np.ndarray) -> dict[str, Any]:
    """Return mean and 95% interval over seeds (Student's t); none with a single seed."""
    n, mean = len(values), float(np.mean(values))
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return {"value": mean, "low": mean - half, "high": mean + half, "n": n}


def labels_needed(labels: np.ndarray, precision: np.ndarray, target: float) -> float:
    """Return at how many labels a curve reaches a target first, between rounds in a straight line; NaN if it does not."""
    reached = np.flatnonzero(precision >= target)
    if not len(reached) or reached[0] == 0:
        return float(labels[0]) if len(reached) else float("nan")
    k = reached[0]
    return float(labels[k - 1] + (target - precision[k - 1]) / (precision[k] - precision[k - 1]) * (labels[k] - labels[k - 1]))


def _needed(labels: np.ndarray, curve: np.ndarray, target: float) -> dict[str, Any]:
    """Return labels needed by the mean curve, and over seeds where all of them reach the target."""
    each = np.array([labels_needed(labels, of_seed, target) for of_seed in curve])
    there = np.isfinite(each)
    over = {"over_seeds": interval(each)} if there.all() else {}
    return {"of_mean_curve": labels_needed(labels, curve.mean(0), target), "reached_in": int(there.sum())} | over


def summary(world: World, found: list[list[dict[str, Any]]], strategies: list[str]) -> dict[str, Any]:
    """Return every curve, the labels needed for what random choice reaches in the end, and paired differences to it."""
    labels = np.array(world.labels)
    rounds = {name: [of_seed[i]["rows"] for of_seed in found] for i, name in enumerate(strategies)}
    curves = {name: np.array([[r["average_precision"] for r in rows] for rows in every]) for name, every in rounds.items()}
    lenses = {name: np.array([rows[-1]["found"] for rows in every]) for name, every in rounds.items()}
    target = float(curves["random"][:, -1].mean())
    rows = []
    for name, curve in curves.items():
        rows.append({
            "strategy": name,
            "average_precision": [interval(column) for column in curve.T],
            "found": interval(lenses[name]),
            "minus_random_at_the_end": interval(curve[:, -1] - curves["random"][:, -1]),
            "minus_random_mean_over_rounds": interval((curve - curves["random"])[:, 1:].mean(1)),
            "labels_for_target": _needed(labels, curve, target),
        })  # fmt: skip
    return {
        "about": __doc__.split("\n\n")[2].replace("\n", " "),
        "world": world.__dict__,
        "learning": LEARN.__dict__,
        "labels": labels.tolist(),
        "target": {"average_precision": target, "what": "mean of random choice after all its labels"},
        "seeds": len(found),
        "strategies": rows,
        "summaries": STRATEGIES,
        "machine": machine(),
        "commit": commit(),
    }


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw average precision against labels, and the lenses that each strategy brought up."""
    from darklens.evaluate.style import DPI, dress, new_figure

    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    labels = np.array(content["labels"])
    for k, row in enumerate(content["strategies"]):
        values = [[v[key] for v in row["average_precision"]] for key in ("value", "low", "high")]
        mean, low, high = np.array(values, dtype=float)  # a single seed has no interval: None becomes NaN
        name, shift = row["strategy"], (k - len(content["strategies"]) / 2) * 1.2
        style = {"color": COLOURS[name], "label": name, "marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.6}
        left.errorbar(labels + shift, mean, yerr=[mean - low, high - mean], elinewidth=0.8, **style)
        bar = row["found"]
        error = [[bar["value"] - bar["low"]], [bar["high"] - bar["value"]]] if bar["low"] is not None else None
        right.barh(k, bar["value"], xerr=error, color=COLOURS[name], height=0.7, capsize=2)
    left.axhline(content["target"]["average_precision"], color="#8a91a0", linewidth=0.8, linestyle="--")
    test, share, seeds = (*(content["world"][k] for k in ("test", "positives")), content["seeds"])
    dress(
        left,
        f"on {test:,} test images, {share:.0%} lenses; mean of {seeds} seeds with 95% intervals",
        "labels",
        "average precision",
    )
    dress(right, f"lenses among the {labels[-1] - labels[0]} images asked for", "lenses", "")
    right.set_yticks(range(len(content["strategies"])), [row["strategy"] for row in content["strategies"]])
    right.invert_yaxis()
    right.set_xlim(left=0)
    left.set_ylim(0, 1)
    left.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, facecolor="white")


def main(arguments: list[str]) -> int:
    """Simulate what is missing, write the figures and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.active_learning", description=__doc__.splitlines()[0])
    parser.add_argument("--positives", type=float, default=World.positives, help="part of the survey's images that are lenses")
    parser.add_argument("--difficulty", type=float, default=World.difficulty, help="of the survey's lenses, 0 to 1")
    parser.add_argument("--rounds", type=int, default=World.rounds)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=15.0, help="no seed is begun that would probably not end within them")
    parser.add_argument("--strategies", default=",".join(DEFAULT), help=f"of {', '.join(COLOURS)}; random is always among them")
    parser.add_argument("--tiny", action="store_true", help="a small world, to see that everything works; writes into runs/")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    world = World(asked.positives, asked.difficulty, rounds=asked.rounds)
    if asked.tiny:
        world = World(0.2, 0.0, first=60, pool=100, test=100, batch=20, rounds=2, epochs=3)
    strategies = list(dict.fromkeys(["random", *asked.strategies.split(",")]))
    begin, found = time.perf_counter(), []
    for seed in range(asked.seeds):
        spent = time.perf_counter() - begin
        if found and spent * (1 + 1 / len(found)) > 60 * asked.minutes:
            print(f"{len(found)} of {asked.seeds} seeds fit into {asked.minutes:g} minutes; the same command goes on")
            break
        found.append(one_seed(world, seed, strategies))
    content = summary(world, found, strategies) | {"seconds": round(time.perf_counter() - begin, 1)}
    data, picture = (KEPT / "tiny.json", KEPT / "tiny.png") if asked.tiny else (DATA, PICTURE)
    write_json(data, content)
    draw(json.loads(data.read_text()), picture)
    for row in content["strategies"]:
        difference = row["minus_random_at_the_end"]
        print(f"{row['strategy']:14} AP {row['average_precision'][-1]['value']:.3f}, minus random {difference['value']:+.3f} "
              f"[{difference['low']:+.3f}, {difference['high']:+.3f}], labels for AP {content['target']['average_precision']:.3f}: "
              f"{row['labels_for_target']['of_mean_curve']:.0f}, lenses {row['found']['value']:.0f}")  # fmt: skip
    print(f"{data} and {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
