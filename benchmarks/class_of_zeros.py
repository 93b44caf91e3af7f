"""What a class of zeros does to an accuracy: `docs/class-of-zeros.json`, a refutation of a published 99.34%.

    python -m benchmarks.class_of_zeros [--preset model-iii-noisy] [--train 3000] [--test 1500]

The published masked autoencoder reached 99.34% on three classes with a loader that turned every image of one class (axion) into
zeros. Here the same is done to simulated images, and then nothing is learned at all: one number of each image, its brightest pixel,
and a threshold; and a linear layer on the vectors of an encoder with random weights. With zeros, a third of the answers is given
away before any network is asked, and what is left is a task of two classes: an accuracy `a` on those makes `(1 + 2 a) / 3` on all
three.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.task_rows import Row, script_row
from darklens.evaluate.proportion import proportion
from darklens.evaluate.vectors import linear_probe
from darklens.files import write_json
from darklens.models import build
from darklens.simulate import PRESETS
from darklens.train.config import Preprocess
from darklens.train.embedder import embed
from darklens.train.provenance import provenance

ROOT = Path(__file__).parents[1]
OUT, ROWS = ROOT / "docs" / "class-of-zeros.json", ROOT / "runs" / "rows" / "class-of-zeros.json"
ZEROED, PUBLISHED = "axion", 0.9934
SEEDS = {"train": 171, "test": 173}
SEEN = Preprocess(normalise="max")


def images_of(preset: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images `(n, bands, H, W)` and class names `(n,)` of a preset."""
    scene = PRESETS[preset].draw(count, seed, 0)
    return PRESETS[preset].images(scene)[0], np.array(scene.labels)


def zeroed(images: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return the images as the published loader gave them: those of one class are zeros."""
    return np.where((names == ZEROED)[:, None, None, None], np.float32(0), images)


def brightest(images: np.ndarray) -> np.ndarray:
    """Return `(n, 2)` all that is looked at: the brightest pixel, and whether it is zero."""
    peak = images.max((1, 2, 3))
    return np.stack([peak, (peak == 0).astype(np.float32)], 1)


def untrained(images: np.ndarray) -> np.ndarray:
    """Return the vectors of an encoder that has learned nothing."""
    network = build("mae-arc", bands=images.shape[1], size=images.shape[-2:], seed=0)
    with torch.random.fork_rng():
        return embed(network.encoder, images.__getitem__, len(images), SEEN, "cpu")


def accuracies(train: np.ndarray, known: np.ndarray, test: np.ndarray, wanted: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Return the accuracy of a linear layer on vectors: on all images, on the class of zeros, and on the others."""
    answered = linear_probe(train, known, test, len(classes)).argmax(1)
    right, zeros = answered == wanted, wanted == classes.index(ZEROED)
    parts = {"all": np.ones_like(zeros), ZEROED: zeros, "others": ~zeros}
    return {name: proportion(int(right[inside].sum()), int(inside.sum())) for name, inside in parts.items()}


def measure(preset: str, n_train: int, n_test: int) -> dict[str, Any]:
    """Return the accuracies with the images as they are and with a class of zeros, of both things that are looked at."""
    (train, names), (test, names_test) = (images_of(preset, n, SEEDS[part]) for part, n in (("train", n_train), ("test", n_test)))
    classes = list(PRESETS[preset].classes)
    known, wanted = (np.array([classes.index(name) for name in these]) for these in (names, names_test))
    found: dict[str, Any] = {}
    for what, look in (("brightest pixel", brightest), ("encoder with random weights", untrained)):
        found[what] = {
            "as they are": accuracies(look(train), known, look(test), wanted, classes),
            "a class of zeros": accuracies(look(zeroed(train, names)), known, look(zeroed(test, names_test)), wanted, classes),
        }
    two = (3 * PUBLISHED - 1) / 2
    return {
        "preset": preset,
        "zeroed": ZEROED,
        "images": {"train": n_train, "test": n_test},
        "published": PUBLISHED,
        "published_means_of_two_classes": round(two, 4),
        "accuracy": found,
    }


def rows_of(content: dict[str, Any]) -> list[Row]:
    """Return one row for each thing that is looked at."""
    made, rows = provenance(), []
    data = f"{content['images']['test']:,} images of {content['preset']}, {content['zeroed']} made zero"
    for what, cases in content["accuracy"].items():
        figures = {case: parts["all"] for case, parts in cases.items()} | {"others": cases["a class of zeros"]["others"]}
        rows.append(script_row("class-of-zeros", what, data, figures, made, seed=SEEDS["train"]))
    return rows


def main(arguments: list[str]) -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.class_of_zeros", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="model-iii-noisy", help="with the classes no_sub, cdm and axion")
    parser.add_argument("--train", type=int, default=3000, help="labelled images")
    parser.add_argument("--test", type=int, default=1500, help="images that are judged")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    asked = parser.parse_args(arguments)
    content = measure(asked.preset, asked.train, asked.test)
    write_json(asked.out, content)
    if asked.out == OUT:
        write_json(ROWS, rows_of(content))
    for what, cases in content["accuracy"].items():
        for case, parts in cases.items():
            words = ", ".join(f"{name} {p['value']:.4f} [{p['low']:.4f}, {p['high']:.4f}]" for name, p in parts.items())
            print(f"{what}, {case}: {words}")
    print(f"{PUBLISHED:.2%} of three classes, one of them zeros, are {content['published_means_of_two_classes']:.2%} of two")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
