"""What a network learns from how many images: `docs/learning-curve.json` and `docs/learning-curve.png`.

    python -m benchmarks.learning_curve [--sizes 1000,3000,10000,30000,100000] [--budget 20m] [--only arcnet] [--list | --draw]

Every training takes a part of one table, smaller parts lying in larger ones, and is judged on the same test images; the epoch is
chosen on 1,000 validation images (on the recipe's own by the largest, which is the table's own run). Fewer images are gone
through more often, so that short trainings are not what is measured. Runs are kept in
runs/learning-curve/: what is finished is not trained again, and the picture shows what there is.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from benchmarks.result_rows import HEADLINE, OWN, Row, rows_of
from benchmarks.results import ROOT, Step, run_missing
from darklens.files import write_json
from darklens.recipes import load
from darklens.runs import Run

DATA, PICTURE = ROOT / "docs" / "learning-curve.json", ROOT / "docs" / "learning-curve.png"
ROWS = ROOT / "runs" / "rows" / "learning-curve.json"
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
CURVES = {"arcnet": Step("common-test-arcnet"), "resnet18": Step("common-test-zoo", ("also=[]",))}
"""Name of a curve -> recipe; the recipes share preset, seed, validation and test images."""
ENOUGH = 10_000
"""Below so many images, epochs are added until as many go through the network."""
MOST_EPOCHS = 40
VALIDATION = 1_000
"""Images that every epoch of up to forty is judged on: with more, judging would take longer than learning."""
COLOURS = {"arcnet": "#0072B2", "resnet18": "#D55E00"}
"""Blue and vermillion of Okabe & Ito, told apart by all eyes."""
MARKERS = {"arcnet": "o", "resnet18": "s"}
FIGURES = ("auc_macro", "accuracy")


def steps(name: str, sizes: list[int]) -> dict[int, Step]:
    """Return the training of each size; all take their images from one table, that of the largest default size."""
    step = CURVES[name]
    recipe = load(step.recipe)
    epochs = recipe.train.epochs
    found = {}
    for size in sizes:
        if size == recipe.data.train == max(*SIZES, *sizes) and not step.settings:
            found[size] = step  # the table's own run
            continue
        often = min(MOST_EPOCHS, round(epochs * max(1, ENOUGH / size)))
        data = (f"data.train={max(*SIZES, *sizes)}", f"data.subset={size}", f"data.validation={VALIDATION}")
        settings = (*step.settings, *data, f"train.epochs={often}")
        found[size] = Step(step.recipe, settings, f"learning-curve/{name}-{size}")
    return found


def points(every: dict[str, dict[int, Step]]) -> list[Row]:
    """Return a row for each finished training."""
    found = []
    for name, of_name in every.items():
        for size, step in of_name.items():
            if step.finished:
                (row,) = (row for row in rows_of(Run.open(step.out), "learning-curve") if row["data"] == OWN)
                about = {"kind": "training images", "images": size, "curve": name}
                named = {"data": f"{size:,} training images", "variant": "", "published": None}  # epochs follow from the size
                found.append(row | named | {"condition": about})
    return found


def draw(rows: list[Row], path: Path) -> None:
    """Draw what is wrong, one minus AUC and accuracy, against the number of training images."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    for axis, key in zip(axes, FIGURES, strict=True):
        for name in dict.fromkeys(row["condition"]["curve"] for row in rows):
            _curve(axis, [row for row in rows if row["condition"]["curve"] == name], key, name)
        axis.set(xscale="log", yscale="log", xlabel="training images", ylabel=f"1 − {HEADLINE[key]}")
        axis.grid(which="both", alpha=0.25)
        axis.legend(frameon=False)
    n = rows[0]["metrics"]["accuracy"]["n"]
    figure.suptitle(f"Common test: errors on the same {n:,} held-out images, with 95% intervals")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _curve(axis: Any, rows: list[Row], key: str, name: str) -> None:
    rows = sorted(rows, key=lambda row: row["condition"]["images"])
    images, numbers = [row["condition"]["images"] for row in rows], [row["metrics"][key] for row in rows]
    floor = 0.5 / rows[0]["metrics"]["accuracy"]["n"]  # an error of zero has no place on a logarithmic axis
    wrong = [max(1 - number["value"], floor) for number in numbers]
    below = [max(0.0, w - max(1 - number["high"], floor)) for w, number in zip(wrong, numbers, strict=True)]
    above = [max(0.0, 1 - number["low"] - w) for w, number in zip(wrong, numbers, strict=True)]
    style = {"color": COLOURS.get(name), "marker": MARKERS.get(name, "^"), "capsize": 3}
    axis.errorbar(images, wrong, yerr=[below, above], label=name, **style)


def main(arguments: list[str]) -> int:
    """Train what is missing, write the rows and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_curve", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of training images, with commas")
    parser.add_argument("--only", choices=list(CURVES), help="one curve alone")
    parser.add_argument("--budget", help="time of each training, for example 20m")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--draw", action="store_true", help="train nothing, and draw what there is")
    asked = parser.parse_args(arguments)
    sizes = [int(size) for size in asked.sizes.split(",")]
    every = {name: steps(name, sizes) for name in CURVES}
    wanted = [step for name, of_name in every.items() if asked.only in (None, name) for step in of_name.values()]
    if asked.list:
        print("\n".join(f"darklens {shlex.join(step.command(asked.budget))}" for step in wanted if not step.finished))
        return 0
    good = asked.draw or run_missing(wanted, asked.budget)
    if rows := points(every):
        write_json(DATA, rows)
        write_json(ROWS, rows)
        draw(rows, PICTURE)
        print(f"{len(rows)} trainings in {DATA.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")
    return 0 if good and rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
