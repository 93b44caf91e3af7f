"""What learning without labels saves: accuracy against the number of labels, `docs/label-efficiency.json` and `.png`.

    python -m benchmarks.label_efficiency --encoder mae-arc=runs/mae-arc --encoder joint-embedding=runs/joint-embedding
        [--labels 10,100,300,1000,10000] [--seeds 5] [--task classes|theta_E] [--hub FOLDER] [--tiny] [--list]

Every way to use labels is given the same labelled images (drawn per class, smaller sets in larger ones, one draw a seed), no
validation images (nobody with ten labels has a thousand more to choose the best epoch by), and the same test images: a linear
layer on the frozen vectors, a vote of the nearest neighbours, the tuned encoder, and one whose tuning begins with that linear
layer (Kumar et al. 2022, arXiv:2202.10054); beside them the same encoder from random weights, frozen and tuned, arcnet from
random weights, and, where a folder with its weights is given, a network that saw ImageNet.

What is finished is kept in runs/label-efficiency and not done again. Intervals are those of the mean over seeds, by a bootstrap
over seeds and test images at once; differences to random weights are paired, the same labels and the same test images.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.task_rows import Row, script_row
from darklens.errors import InputError
from darklens.evaluate.resampling import difference, number
from darklens.evaluate.vectors import linear_probe, neighbour_vote, ridge
from darklens.files import write_atomic, write_json
from darklens.recipes import load
from darklens.recipes.schema import Recipe
from darklens.recipes.splits import Splits, prepare
from darklens.runs import Run
from darklens.train.answers import softmax
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.embedder import Embedder, embed
from darklens.train.image_set import ImageSet
from darklens.train.logits import predict_logits
from darklens.train.optim import Schedule, optimizer
from darklens.train.predictor import build_model
from darklens.train.preprocess import prepare as prepared
from darklens.train.probe_head import begin_with_probe
from darklens.train.provenance import provenance
from darklens.train.seeds import seed_at

ROOT = Path(__file__).parents[1]
OUT, RUNS = ROOT / "docs", ROOT / "runs" / "label-efficiency"
LABELS, SEEDS, TEST = (10, 100, 300, 1_000, 10_000), 5, 3_000
RECIPE, ARCNET = "model-iii-noisy-encoder", "model-iii-noisy-arcnet"
PASSES, BATCH = 4, 32
"""A tuning has `--steps` steps, or as many as it takes to go through the labels so often."""
RESAMPLES = 2_000
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b")
STYLES = {"tuned": "-", "probe+tuned": "-.", "probe": "--", "neighbours": ":"}
FLOOR = {"tuned": "tuned", "probe+tuned": "tuned", "probe": "probe", "neighbours": "probe"}
"""What of the same encoder from random weights each is compared with; a probe of those is a worse beginning than none."""
GENTLE = 1e-4
"""Learning rate of a tuning that begins with the probe: what is good is to be kept."""


@dataclass(frozen=True)
class Way:
    """One way to use labels.

    Args:
        start: where the network comes from: name of an encoder, "random MODEL", "arcnet" or "imagenet".
        how: a key of `STYLES`.
        model: of the network, as a recipe's `model`.
        preprocess: what it sees.
        train: settings of a tuning.
        floor: the start that it is compared with.
    """

    start: str
    how: str
    model: dict[str, Any]
    preprocess: Preprocess
    train: TrainConfig
    floor: str = ""

    @property
    def name(self) -> str:
        """As in file names and the picture."""
        return f"{self.start} {self.how}"


class Regression:
    """The task of a number: squared error of one output, in units of the labels' own deviation."""

    def __init__(self, values: np.ndarray) -> None:
        self.mean, self.deviation = float(values.mean()), float(max(values.std(), 1e-6))

    def losses(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the squared error, and nothing else."""
        wanted = (targets.float() - self.mean) / self.deviation
        return ((model(inputs).float().squeeze(1) - wanted) ** 2).mean(), torch.zeros(())

    def augment(self, inputs: torch.Tensor, targets: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return turned and mirrored images: the number stays."""
        return Classification(("a", "b"), {}).augment(inputs, torch.zeros(len(inputs), dtype=torch.long), *rest)[0], targets

    def predict(self, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return the numbers (B, 1)."""
        return model(inputs).float() * self.deviation + self.mean


def ways(recipe: Recipe, encoders: dict[str, Path], hub: str | None) -> list[Way]:
    """Return everything that is compared; beside each encoder the same one from random weights."""
    found, own = [], recipe.train
    for name, run in encoders.items():
        described = Run.open(run).model
        preprocess = Preprocess.model_validate(described["preprocess"])
        model = {"name": "encoder", "options": {"run": str(run)}}
        floor, options = f"random {described['name']}", {"encoder": described["name"], "encoder_options": described["options"]}
        same = {"name": "encoder", "options": options}
        found += [_begun(Way(name, how, model, preprocess, own, floor)) for how in STYLES]
        floors = [Way(floor, how, same, preprocess, own) for how in dict.fromkeys(FLOOR.values())]
        found += [way for way in floors if way not in found]
    arcnet = load(ARCNET)
    found.append(Way("arcnet", "tuned", arcnet.model.model_dump(include={"name", "options"}), arcnet.preprocess, arcnet.train))
    if hub:
        seen = Preprocess(stretch="sqrt", normalise="min-max")
        found.append(Way("imagenet", "tuned", {"name": f"hf:{hub}", "options": {"weights": "pretrained"}}, seen, own))
    return found


def _begun(way: Way) -> Way:
    """Return a way with what it takes to begin a tuning with a probe, if it does."""
    if way.how != "probe+tuned":
        return way
    model = way.model | {"options": way.model["options"] | {"probe": True}}
    return replace(way, model=model, train=way.train.model_copy(update={"lr": GENTLE}))


def few(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return rows of `count` labelled images, as even in the classes as can be; smaller sets lie in larger ones."""
    rng = np.random.default_rng([seed, 7])
    turns = [rng.permutation(np.flatnonzero(labels == k)) for k in np.unique(labels)]
    order = [rows[i] for i in range(max(map(len, turns))) for rows in turns if i < len(rows)]
    if count > len(order):
        raise InputError(f"{count} labels are asked for and there are {len(order)} images: lower --labels")
    return np.sort(np.array(order[:count]))


def answer(
    way: Way, splits: Splits, targets: dict[str, np.ndarray], rows: np.ndarray, seed: int, numbers: bool, steps: int
) -> np.ndarray:
    """Return what is answered to the test images, `(n, k)` probabilities or `(n, 1)` numbers, having seen some labels."""
    train, test = (part.seen_as(way.preprocess) for part in (splits.train.take(rows), splits.test))
    if way.how in ("probe", "neighbours"):
        known, unknown = (vectors(way, part, splits, seed) for part in (train, test))
        if numbers:
            return ridge(known, targets["train"][rows], unknown)[:, None]
        judge = linear_probe if way.how == "probe" else neighbour_vote
        return judge(known, targets["train"][rows], unknown, len(splits.test.classes))
    task: Any = Regression(targets["train"][rows]) if numbers else replace(splits.task, imbalance=None)
    model = network(way, splits, seed, 1 if numbers else len(splits.test.classes))
    if way.how == "probe+tuned":
        begin_with_probe(model, train, way.preprocess)
    teach(model, task, train, targets["train"][rows], way, seed, steps)
    found = predict_logits(model, task, test, way.preprocess, "cpu")
    return found if numbers else softmax(found)


def network(way: Way, splits: Splits, seed: int, outputs: int) -> nn.Module:
    """Return the network that a way begins with."""
    described = {"shape": splits.test.shape, "pixel_scale": splits.card["pixel_scale"], "preprocess": way.preprocess.model_dump()}
    return build_model(described | {"seed": seed} | way.model, outputs)


def vectors(way: Way, images: ImageSet, splits: Splits, seed: int) -> np.ndarray:
    """Return the frozen vectors of images."""
    run = way.model["options"].get("run")
    if run:
        return Embedder(Run.open(run), "cpu").vectors_of(images)
    encoder = network(way, splits, seed, 2).encoder
    return embed(encoder, images.inputs, len(images), way.preprocess, "cpu")


def teach(model: nn.Module, task: Any, images: ImageSet, targets: np.ndarray, way: Way, seed: int, steps: int) -> None:
    """Tune a network on a few labelled images, without looking at any other."""
    batch = min(BATCH, len(images))
    steps = max(steps, PASSES * len(images) // batch)
    config = way.train.model_copy(update={"epochs": 1, "schedule": "onecycle", "seed": seed})
    opt = optimizer(model, config)
    schedule = Schedule(opt, config, steps)
    generator = torch.Generator().manual_seed(seed_at(seed, len(images)))
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed_at(seed, len(images), 1))
        order = np.concatenate([torch.randperm(len(images), generator=generator) for _ in range(steps * batch // len(images) + 1)])
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            inputs = prepared(images.batch(rows)[0], way.preprocess)
            inputs, wanted = task.augment(inputs, torch.from_numpy(targets[rows]), config, generator, (slice(None), len(rows)))
            loss = sum(task.losses(model, inputs, wanted))
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            schedule.step()


def scores(answers: np.ndarray, targets: np.ndarray, numbers: bool) -> np.ndarray:
    """Return `(n,)` what is averaged: whether each image is called right, or the squared error of its number."""
    return (answers[:, 0] - targets) ** 2 if numbers else (answers.argmax(1) == targets).astype(float)


def table(kept: dict[tuple[str, int, int], np.ndarray], every: list[Way], numbers: bool) -> list[dict[str, Any]]:
    """Return one row for each way and number of labels: the mean over seeds, and its paired difference to random weights."""
    floors = {way.name: f"{way.floor} {FLOOR[way.how]}" for way in every if way.floor}
    rows = []
    for name, count in dict.fromkeys((name, count) for name, count, _ in kept):
        of = {seed: values for (n, c, seed), values in kept.items() if (n, c) == (name, count)}
        own = np.stack(list(of.values()))
        row = {"way": name, "labels": count, "seeds": len(of), "value": _interval(own, numbers)}
        floor = {seed: kept.get((floors.get(name, ""), count, seed)) for seed in of}
        shared = [seed for seed, values in floor.items() if values is not None]
        if shared:
            row["minus_random"] = _gain(np.stack([of[s] for s in shared]), np.stack([floor[s] for s in shared]), numbers)
        rows.append(row)
    return rows


def _drawn(arrays: list[np.ndarray]) -> np.ndarray:
    """Return `(resamples, len(arrays))` means of arrays `(seeds, n)` under common draws of seeds and images."""
    rng, (seeds, n) = np.random.default_rng(0), arrays[0].shape
    found = np.empty((RESAMPLES, len(arrays)))
    for r in range(RESAMPLES):
        weight = np.bincount(rng.integers(0, n, n), minlength=n) / n
        chosen = rng.integers(0, seeds, seeds)
        found[r] = [(array[chosen].mean(0) * weight).sum() for array in arrays]
    return found


def _interval(own: np.ndarray, numbers: bool) -> dict[str, Any]:
    drawn = _drawn([own])[:, 0]
    value = own.mean()
    return number(value**0.5, drawn**0.5, own.shape[1], 0.95) if numbers else number(value, drawn, own.shape[1], 0.95)


def _gain(own: np.ndarray, floor: np.ndarray, numbers: bool) -> dict[str, Any]:
    drawn = _drawn([own, floor])
    drawn = drawn**0.5 if numbers else drawn
    values = [array.mean() ** (0.5 if numbers else 1) for array in (own, floor)]
    return difference(values[0] - values[1], drawn[:, 0] - drawn[:, 1], own.shape[1], 0.95)


def draw(rows: list[dict[str, Any]], path: Path, numbers: bool, title: str) -> None:
    """Draw the curves: a colour a start, a stroke a way to use it."""
    import io

    from darklens.evaluate.style import DPI, new_figure

    figure = new_figure(7.4, 5.0)
    ax = figure.subplots()
    starts = list(dict.fromkeys(row["way"].rpartition(" ")[0] for row in rows))
    for name in dict.fromkeys(row["way"] for row in rows):
        start, _, how = name.rpartition(" ")
        own = sorted((row for row in rows if row["way"] == name), key=lambda row: row["labels"])
        x, y = [row["labels"] for row in own], [row["value"]["value"] for row in own]
        spread = [
            [row["value"]["value"] - row["value"]["low"] for row in own],
            [row["value"]["high"] - row["value"]["value"] for row in own],
        ]
        style = {"color": COLOURS[starts.index(start) % len(COLOURS)], "linestyle": STYLES[how], "marker": "o", "markersize": 4}
        ax.errorbar(x, y, yerr=np.maximum(spread, 0), label=name, capsize=3, linewidth=1.5, **style)
    ax.set(xscale="log", xlabel="labels", ylabel="scatter of theta_E in arcsec" if numbers else "accuracy")
    ax.set_title(title, loc="left", fontsize=9)
    counts = sorted({row["labels"] for row in rows})
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    if numbers:
        ax.set_yscale("log")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    write_atomic(path, buffer.getvalue())


def gathered(asked: argparse.Namespace, recipe: Recipe, every: list[Way]) -> Splits:
    """Return the images, with all that any way sees of them."""
    seen = {one.model_dump_json(): one.model_dump() for one in (recipe.preprocess, *(way.preprocess for way in every))}
    also = [{"name": "cnn", "preprocess": settings} for settings in list(seen.values())[1:]]  # any network: its inputs are wanted
    content = recipe.model_dump(mode="json") | {"also": also}
    wanted = load(content, ["tiny=true"] if asked.tiny else [])
    splits = prepare(wanted.effective(), asked.data, print, lambda phase, done, total: None)
    return replace(splits, test=splits.test.take(np.arange(min(len(splits.test), asked.test))))


def main(arguments: list[str]) -> int:
    """Do what is missing, write the rows and draw the picture."""
    asked = _arguments(arguments)
    recipe, numbers = load(asked.recipe), asked.task == "theta_E"
    classes_alone = ("neighbours", "probe+tuned")
    every = [way for way in ways(recipe, asked.encoder, asked.hub) if not (numbers and way.how in classes_alone)]
    labels = [12, 24] if asked.tiny else [int(count) for count in asked.labels.split(",")]
    todo = [(way, count, seed) for count in labels for seed in range(asked.seeds) for way in every]
    if asked.list:
        print("\n".join(f"{way.name}, {count} labels, seed {seed}" for way, count, seed in todo))
        return 0
    splits = gathered(asked, recipe, every)
    sets = {"train": splits.train, "test": splits.test}
    targets = {name: part.truth["theta_E"].astype(np.float32) if numbers else part.labels for name, part in sets.items()}
    kept = {}
    for way, count, seed in todo:
        place = asked.runs / asked.task / f"{way.name}-{count}-{seed}.npy".replace(" ", "-")
        if not place.is_file():
            found = answer(
                way, splits, targets, few(splits.train.labels, count, seed), seed, numbers, 4 if asked.tiny else asked.steps
            )
            place.parent.mkdir(parents=True, exist_ok=True)
            np.save(place, found)
            print(f"{way.name}, {count} labels, seed {seed}: {scores(found, targets['test'], numbers).mean():.4f}", flush=True)
        kept[way.name, count, seed] = scores(np.load(place), targets["test"], numbers)
    rows = table(kept, every, numbers)
    title = f"{splits.card['source']}, {len(splits.test):,} test images, mean of {asked.seeds} draws, 95% intervals"
    stem = "label-efficiency" + ("-theta-E" if numbers else "")
    write_json(asked.out / f"{stem}.json", {"title": title, "task": asked.task, "rows": rows})
    draw(rows, asked.out / f"{stem}.png", numbers, title)
    if not (numbers or asked.tiny):
        write_json(ROOT / "runs" / "rows" / f"{stem}.json", result_rows(rows, len(splits.test)))
    for row in rows:
        print(f"{row['way']:28s} {row['labels']:6d}  {_words(row['value'], '')}{_words(row.get('minus_random'), '+')}")
    return 0


def result_rows(rows: list[dict[str, Any]], test: int) -> list[Row]:
    """Return the rows for `docs/results.md`, fewest labels first."""
    made = provenance()
    return [
        script_row(
            "few-labels", row["way"], f"{row['labels']} labels, {test:,} test images, {row['seeds']} draws",
            {key: row[key] for key in ("value", "minus_random") if key in row}, made,
        )
        for row in sorted(rows, key=lambda row: (row["labels"], -row["value"]["value"]))
    ]  # fmt: skip


def _words(found: dict[str, Any] | None, sign: str) -> str:
    if found is None:
        return ""
    text = f"{found['value']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
    return f", minus random weights {text}" if sign else text


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_efficiency", description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", action="append", default=[], help="NAME=RUN of an encoder; repeatable")
    parser.add_argument("--recipe", default=RECIPE, help="whose images and settings are used")
    parser.add_argument("--task", choices=("classes", "theta_E"), default="classes")
    parser.add_argument("--labels", default=",".join(map(str, LABELS)), help="numbers of labels, all classes together")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="draws of the labels")
    parser.add_argument("--steps", type=int, default=200, help="fewest steps of a tuning")
    parser.add_argument("--test", type=int, default=TEST, help="test images")
    parser.add_argument("--hub", help="folder with the weights of a network that saw ImageNet")
    parser.add_argument("--data", type=Path, default=ROOT / "runs" / "data", help="where tables lie")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where answers are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="where the picture and its numbers go")
    parser.add_argument("--tiny", action="store_true", help="a few images, to see that it works")
    parser.add_argument("--list", action="store_true", help="print what would be done and stop")
    asked = parser.parse_args(arguments)
    asked.encoder = {name: Path(run) for name, run in (text.split("=", 1) for text in asked.encoder)}
    return asked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
