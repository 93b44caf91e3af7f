"""Does the substructure survive? A classifier, and the smooth fit, on coarse lenses made sharper, beside the true ones.

    python -m benchmarks.super_resolution RUN [--classifier arcnet:common-test] [--n 300] [--device cpu]

The same lenses, which no recipe trains on, are sharpened by bicubic, by Richardson-Lucy and by the run; each image, and the truth,
is then recorded once more as the sharp camera would, since classifiers and fits know images with noise. The images that the camera
really recorded stand beside. What a coarse image lacks can only be invented: lenses without substructure that are called otherwise
more often than the true ones are hallucinations.

One JSON line on stdout, and rows for `docs/results.md` in `runs/rows/super-resolution-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.task_rows import Row, script_row
from darklens.errors import DarklensError, InputError
from darklens.evaluate import classification_metrics
from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import difference, number, resamples
from darklens.files import write_json
from darklens.fit.request import Request
from darklens.runs import Run
from darklens.simulate import PAIRS, PairPreset
from darklens.simulate.noise import Exposure, min_max
from darklens.train.enhancer import Enhancer
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "runs" / "rows"
SEED = 30_000
"""Of the lenses: no recipe trains on it."""
SMOOTH = ("no", "no_sub")
"""Classes without substructure."""
FIT = {"sr-pairs": "sis+shear+sersic"}
"""Smooth lenses of presets that are not SIE."""
BATCH = 32


def main(arguments: list[str]) -> int:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--classifier", default="arcnet:common-test", help="a run that was trained on sharp images of these lenses")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        row = study(Run.open(options.run), Run.open(options.classifier), options.n, options.device)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    write_json(ROWS / f"super-resolution-{options.run.resolve().name}.json", rows_of(row, provenance()))
    print(json.dumps(row))
    return 0


def study(run: Run, classifier: Run, n: int, device: str = "cpu") -> dict[str, Any]:
    """Return what classifier and fit say of n lenses in every version.

    Raises:
        InputError: the run was not trained on a preset of pairs, or the classifier sees other images.
    """
    name = run.recipe["data"]["preset"]
    if name not in PAIRS:
        raise InputError(f"{run.path} was trained on {name or 'files'}: give a run of one of {', '.join(PAIRS)}")
    preset, enhancer, predictor = PAIRS[name], Enhancer(run, device), Predictor(classifier, device)
    unknown = sorted(set(preset.population.classes) - set(predictor.classes))
    if unknown or predictor.shape != preset.shape_of("HR"):
        raise InputError(
            f"{classifier.path} tells {', '.join(predictor.classes)} apart in images {predictor.shape} and {name} has "
            f"{', '.join(preset.population.classes)} in {preset.shape_of('HR')}: give a classifier of such images with --classifier"
        )
    versions, labels, theta_e = lenses(preset, enhancer, n)
    codes = np.array([predictor.classes.index(label) for label in labels])
    found = {kind: classified(predictor, images, codes) for kind, images in versions.items()}
    truth_says = found["truth"].pop("substructure")
    for kind, row in found.items():
        said = row.pop("substructure", truth_says)
        smooth = np.isin(labels, SMOOTH)
        row["called_substructure"] = proportion(int(said[smooth].sum()), int(smooth.sum()))
        row["hallucinated"] = paired(said[smooth].astype(float) - truth_says[smooth])
        row["theta_E"] = fitted(preset, versions[kind], theta_e)
    made = provenance()
    about = {"run": str(run.path), "classifier": classifier.name, "preset": name, "n": n, "seed": SEED}
    return about | {"versions": found, "machine": made["machine"], "commit": made["commit"], "date": made["date"]}


def rows_of(found: dict[str, Any], made: dict[str, Any]) -> list[Row]:
    """Return one row for each version of the images."""
    data, rows = f"{found['n']} lenses of {found['preset']}, {found['classifier']}", []
    for version, row in found["versions"].items():
        fit = row["theta_E"]
        figures = {key: row[key] for key in ("accuracy", "auc_macro", "called_substructure", "hallucinated")}
        figures |= {"theta_E.bias": fit["bias"], "theta_E.scatter": fit["scatter"]}
        figures["chi2"] = {"value": fit["chi2"], "low": None, "high": None, "n": found["n"]}
        rows.append(script_row("substructure-survives", version, data, figures, made, seed=SEED))
    return rows


def lenses(preset: PairPreset, enhancer: Enhancer, n: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return version -> images `(n, 1, H, W)` as recorded by the sharp camera; class names and Einstein radii, `(n,)`."""
    parts: list[dict[str, np.ndarray]] = []
    labels, theta_e = [], []
    for first in range(0, n, BATCH):
        scene = preset.draw(min(BATCH, n - first), SEED, first)
        low = preset.images(scene, "LR")
        versions = {method: enhancer.classical(low, method) for method in ("bicubic", "richardson-lucy")}
        versions |= {enhancer.run.recipe["name"]: enhancer(low)[0], "truth": preset.images(scene, "TRUTH")}
        light = {kind: np.clip(images[:, 0], 0, None) for kind, images in versions.items()}
        again = {kind: Exposure().record(flux, preset.high, SEED, scene.rows)[0][:, None] for kind, flux in light.items()}
        parts.append(again | {"recorded": preset.images(scene, "HR")})
        labels += list(scene.labels)
        theta_e.append(scene.truth["theta_E"])
    images = {kind: np.concatenate([part[kind] for part in parts]).astype(np.float32) for kind in parts[0]}
    return images, np.array(labels, dtype=object), np.concatenate(theta_e)


def classified(predictor: Predictor, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return accuracy and AUC with intervals, and which images are called anything but smooth."""
    seen = min_max(images[:, 0])[:, None] if predictor.run.model["flux_unit"] == "min-max" else images
    answers = predictor.answers(predictor.checked(seen))
    metrics = classification_metrics(answers.probabilities, labels, predictor.classes)
    smooth = [k for k, name in enumerate(predictor.classes) if name in SMOOTH]
    return {key: metrics[key] for key in ("accuracy", "auc_macro", "auc")} | {"substructure": ~np.isin(answers.called, smooth)}


def fitted(preset: PairPreset, images: np.ndarray, theta_e: np.ndarray) -> dict[str, Any]:
    """Return bias and scatter of the fitted Einstein radius, relative to the true one, and how many fits converged."""
    plan = Request(instrument=preset.high, model=FIT.get(preset.name)).plan(images[:5])
    fit = plan.fit(images)
    good = fit.converged
    error = fit["theta_E"][good] / theta_e[good] - 1
    counts = np.concatenate(list(resamples(np.zeros(len(error)), 1000, 0)))
    mean = counts @ error / len(error)
    scatter = np.sqrt(counts @ error**2 / len(error) - mean**2)
    return {
        "bias": number(error.mean(), mean, len(error), 0.95),
        "scatter": number(error.std(), scatter, len(error), 0.95),
        "chi2": float(np.median(fit.chi2[good])),
        "converged": proportion(int(good.sum()), len(good)),
    }


def paired(values: np.ndarray) -> dict[str, Any]:
    """Return the mean of paired differences with its bootstrap interval."""
    counts = np.concatenate(list(resamples(np.zeros(len(values)), 1000, 0)))
    return difference(values.mean(), counts @ values / len(values), len(values), 0.95)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
