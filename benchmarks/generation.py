"""How many steps does a generator need, and can a classifier learn from its images?

    python -m benchmarks.generation RUN [--n 300] [--train 900] [--ways dpm-solver++:25,ddim:25,ancestral:1000] [--device cpu]

- **Steps**: Frechet distance over its real-real floor, and seconds an image, for each way from noise to images; all begin as the
  same noise and are told the same. The published way is `ancestral:1000`.
- **Lessons**: a logistic regression on the features of the classifier that comes with darklens, taught with generated images and
  tested on real ones, beside the same taught with as many real ones. It learns nothing that the features do not show, and little
  that the generator did not put into them: equal scores say that the substructure in generated images is of the right kind.

The real images are drawn from the run's preset with seeds that no recipe uses. One JSON line on stdout, and
rows for `docs/results.md` in `runs/rows/generation-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.task_rows import Row, script_row
from darklens.errors import DarklensError, InputError
from darklens.evaluate import classification_metrics
from darklens.evaluate.generated import compare_features
from darklens.files import write_json
from darklens.fit import Plan
from darklens.runs import Run
from darklens.simulate import simulate
from darklens.train.generation import Generator
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.generation.measuring import Ruler
from darklens.train.provenance import provenance

ROWS = Path(__file__).parents[1] / "runs" / "rows"
SEED = 31_000
"""Of the real images: no recipe trains or tests on it."""
WAYS = "dpm-solver++:10,dpm-solver++:25,dpm-solver++:50,ddim:25,ancestral:1000"


def real_images(generator: Generator, n: int, seed: int) -> ConditionedImages:
    """Return images of the run's preset.

    Raises:
        InputError: the run was not trained on a preset.
    """
    name = generator.described.get("preset")
    if name is None:
        raise InputError(f"{generator.run.path} was not trained on a preset: its images cannot be drawn again")
    table = simulate(name, n, seed=seed)
    return ConditionedImages.from_table(table, np.arange(n)).with_conditions(generator.conditions)


def steps(generator: Generator, ruler: Ruler, ways: str, n: int) -> dict[str, Any]:
    """Measure each way `SAMPLER:STEPS`."""
    real, held = (real_images(generator, n, SEED + k) for k in (0, 1))
    features = [ruler.measure(images.images)[0] for images in (real, held)]
    noise, found = generator.noise(n, SEED), {}
    for way in ways.split(","):
        sampler, _, count = way.partition(":")
        start = time.perf_counter()
        made = generator.images(real.told, noise, seed=SEED, sampler=sampler, steps=int(count))
        seconds = (time.perf_counter() - start) / n
        numbers = compare_features(ruler.measure(made)[0], *features)
        kept = ("frechet", "frechet_floor", "frechet_ratio", "coverage")
        found[way] = {k: numbers[k] for k in kept} | {"seconds_per_image": round(seconds, 4)}
        print(f"{way}: ratio to the floor {numbers['frechet_ratio']['value']:.2f}, {seconds:.3f} s an image", file=sys.stderr)
    return found


def lessons(generator: Generator, ruler: Ruler, n: int, test: int) -> dict[str, Any]:
    """Teach with generated and with real images, and test on real ones."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = generator.conditions.classes
    if not classes:
        return {}
    like, judged = real_images(generator, n, SEED + 2), real_images(generator, test, SEED + 3)
    made = generator.images(like.told, generator.noise(n, SEED + 2), seed=SEED + 2)
    seen, labels = ruler.measure(judged.images)[0], np.array([classes.index(label) for label in judged.labels])
    targets, found = np.array([classes.index(label) for label in like.labels]), {}
    for name, images in (("real", like.images), ("generated", made)):
        network = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        network.fit(ruler.measure(images)[0], targets)
        metrics = classification_metrics(network.predict_proba(seen), labels, classes)
        found[name] = {key: metrics[key] for key in ("accuracy", "auc_macro", "loss")}
    return {"taught_with": n, "tested_on": test, **found}


def rows_of(found: dict[str, Any], made: dict[str, Any]) -> list[Row]:
    """Return one row for each way from noise to images, and one for each kind of images to learn from."""
    rows = []
    for way, numbers in found["steps"].items():
        sampler, _, count = way.partition(":")
        figures = {key: numbers[key] for key in ("frechet_ratio", "coverage")}
        figures["seconds_per_image"] = {"value": numbers["seconds_per_image"], "low": None, "high": None, "n": found["n"]}
        named = {"recipe": found["run"], "variant": f"{sampler}, {count} steps", "seed": SEED}
        rows.append(script_row("sampling", found["model"], f"{found['n']} images, {found['features']}", figures, made, **named))
    lesson = found["lessons"]
    for kind in [kind for kind in ("real", "generated") if kind in lesson]:
        data = f"{lesson['tested_on']} real images, taught with {lesson['taught_with']}"
        rows.append(script_row("lessons-of-generated", f"{kind} images", data, lesson[kind], made, seed=SEED + 2))
    return rows


def main() -> None:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=300, help="images of each way")
    parser.add_argument("--train", type=int, default=900, help="images to teach with")
    parser.add_argument("--ways", default=WAYS, help="SAMPLER:STEPS, with commas")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    run = Run.open(asked.run)
    generator = Generator(run, asked.device)
    fit = generator.described.get("fit")
    ruler = Ruler(generator.shape, Plan.from_dict(fit) if fit else None, generator.described.get("preset"))
    about = provenance()
    row = {
        "benchmark": "generation",
        "run": run.name,
        "model": generator.described["name"],
        "n": asked.n,
        "features": ruler.name,
        "steps": steps(generator, ruler, asked.ways, asked.n),
        "lessons": lessons(generator, ruler, asked.train, asked.n),
        **{name: about[name] for name in ("command", "commit", "machine", "date")},
    }
    write_json(ROWS / f"generation-{run.name.replace(':', '-')}.json", rows_of(row, about))
    print(json.dumps(row))


if __name__ == "__main__":
    try:
        main()
    except DarklensError as error:
        sys.exit(f"error: {error}")
