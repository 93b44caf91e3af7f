"""What a trained network is worth where the images are not quite those it was trained on.

    python -m benchmarks.robustness RUN [RUN ...] [--n 900] [--only psf,noise,lens,simulator] [--adapt moments,adda,self-training]

Each condition of `benchmarks.disturbances` is scored as it is; for runs that fit lenses also with PSF and noise measured on
the test images themselves (`--calibrate`), and with `--adapt` after each adaptation to further unlabelled images of the condition
(rows behind those of the test: never tested on). Where the scenes are those of the undisturbed one the
difference is paired; for other simulators each adaptation is paired with the run as it stands on the same images.

One JSON list a run, `runs/rows/robustness-NAME.json`, written after every row: what is there is not computed again (`--force`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.disturbances import Condition, conditions, draw
from darklens.errors import DarklensError, InputError
from darklens.evaluate import classification_metrics, format_interval, paired_difference
from darklens.files import write_json
from darklens.runs import Run
from darklens.simulate import preset
from darklens.train.adaptation import METHODS, AdaptConfig, adapt_network
from darklens.train.adaptation.images import source_images
from darklens.train.adaptation.moments import has_moments
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "runs" / "rows"
KINDS = ("psf", "noise", "lens", "simulator")
HEADLINE = ("accuracy", "auc_macro", "average_precision", "loss", "ece", "auc")
DIFFERENCES = ("accuracy", "auc_macro", "loss")
SEED = 20_000
"""Of the test scenes: no recipe trains on it."""
PUBLISHED = {"adda": {"accuracy": 0.915, "auc_macro": 0.980, "before": 0.675, "by": "ADDA and an equivariant network, A to B"}}


class Study:
    """One run under every condition.

    Args:
        run: trained on a preset.
        n: test images of each condition.
        n_adapt: unlabelled images to adapt to.
        methods: adaptations.
        config: their settings.
        device: where networks compute.

    Raises:
        InputError: the run was not trained on a preset.
    """

    def __init__(self, run: Run, n: int, n_adapt: int, methods: tuple[str, ...], config: AdaptConfig, device: str = "auto") -> None:
        name = (run.data or {}).get("preset")
        if name is None:
            raise InputError(f"{run.path} was not trained on a preset: its images cannot be drawn again with a change")
        self.run, self.base, self.predictor = run, preset(name), Predictor(run, device)
        self.n, self.n_adapt, self.methods, self.config = n, n_adapt, methods, config
        self.undisturbed: np.ndarray | None = None

    def rows(self, only: set[str], done: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield every row that is not there yet."""
        for condition in conditions(self.base, only):
            wanted = [f"{condition.name}{suffix}" for suffix in self.variants(condition)]
            if all(name in done for name in wanted):
                continue
            images, labels = self.images(condition, self.n)
            plain = self.predictor.probabilities(images)
            for name, suffix in zip(wanted, self.variants(condition), strict=True):
                if name in done:
                    continue
                start = time.perf_counter()
                try:
                    probabilities, about = (plain, {}) if not suffix else self.changed(condition, suffix, images)
                except DarklensError as error:  # images on which nothing can be measured, or learned from
                    yield self.described(name, condition) | {"metrics": {}, "refused": str(error)}
                    continue
                reference, against = self.reference(condition, plain, suffix)
                row = self.row(name, condition, probabilities, labels, reference, against)
                yield row | about | {"budget": f"{(time.perf_counter() - start) / 60:.1f} min"}

    def variants(self, condition: Condition) -> list[str]:
        """Return what is done about a condition: nothing, calibration, and the adaptations that can do something."""
        found = [""]
        if self.predictor.plan is not None:
            found.append(", calibrated")
        usable = [m for m in self.methods if m != "moments" or has_moments(self.predictor.model)]
        return found + ([f", {m}" for m in usable] if condition.kind != "undisturbed" else [])

    def images(self, condition: Condition, n: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return checked images and class indices of rows of the condition."""
        images, labels = draw(condition, self.base, n, SEED, start)
        return self.predictor.checked(images), self.predictor.task.encode(labels)

    def changed(self, condition: Condition, suffix: str, images: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """Return probabilities after calibration or adaptation, and what was found; a failure of the method is a result too."""
        method = suffix.removeprefix(", ")
        if method == "calibrated":
            measured = self.predictor.calibrated_on(images)
            width = getattr(measured.plan.psf, "fwhm", None)
            return measured.probabilities(images), {"psf_fwhm": {"assumed": self.predictor.plan.psf.fwhm, "measured": width}}
        target, _ = self.images(condition, self.n_adapt, start=self.n)  # labels are dropped
        network, history = adapt_network(self.predictor, target, method, self.config, source=self.labelled)
        about = {"adapted_to": len(target), "history": history[-1:], "published": PUBLISHED.get(method)}
        return self.predictor.with_network(network).probabilities(images), about

    def labelled(self) -> ImageSet:
        """Return training images of the run."""
        return source_images(self.run, self.predictor.task, self.predictor.shape, self.config.source_images)

    def reference(self, condition: Condition, plain: np.ndarray, suffix: str) -> tuple[np.ndarray | None, str | None]:
        """Return what a row is compared with: the undisturbed condition on the same scenes, or the run as it stands."""
        if condition.kind == "undisturbed" and not suffix:
            self.undisturbed = plain
            return None, None
        if not condition.paired:
            return (plain, condition.name) if suffix else (None, None)
        if self.undisturbed is None:
            first = conditions(self.base, set())[0]
            self.undisturbed = self.predictor.probabilities(self.images(first, self.n)[0])
        return self.undisturbed, "undisturbed"

    def row(
        self, name: str, condition: Condition, found: np.ndarray, labels: np.ndarray, other: np.ndarray | None, against: str | None
    ) -> dict[str, Any]:
        """Return a row of the results."""
        classes = self.predictor.classes
        metrics = classification_metrics(found, labels, classes)
        row = self.described(name, condition) | {"metrics": {key: metrics[key] for key in HEADLINE}}
        if other is None:
            return row
        paired = paired_difference(found, other, labels, classes)
        return row | {"difference": {"to": against} | {key: paired[key] for key in DIFFERENCES}}

    def described(self, name: str, condition: Condition) -> dict[str, Any]:
        """Return a row without its figures."""
        run, made = self.run, provenance()
        old = run.provenance or {}
        return {
            "block": "robustness",
            "model": run.model["name"],
            "recipe": run.recipe["name"],
            "data": name,
            "condition": {"kind": condition.kind, "name": condition.name, "change": condition.change, "trained_on": self.base.name},
            "scored_on": condition.preset.name,
            "published": None,
            "parameters": old.get("parameters"),
            "images_per_s": {"train": None, "predict": None},
            "seeds": 1,
            "seed": SEED,
            "training_images": ((run.data or {}).get("splits") or {}).get("train", {}).get("rows"),
            "command": made["command"],
            "commit": made["commit"],
            "machine": machine(made["machine"]),
            "date": made["date"],
        }


def machine(about: dict[str, Any]) -> str:
    """Return a machine in a few words, as the other rows of the results do."""
    return f"{about.get('processor')}, {about.get('cores')} cores, {about.get('accelerator') or 'no GPU'}"


def measure(study: Study, only: set[str], path: Path, *, force: bool = False) -> list[dict[str, Any]]:
    """Add the rows of a study to its file, one by one; rows of another number of images or other weights are made anew."""
    key = {"n": study.n, "weights": str((study.run.provenance or {}).get("date"))}
    old = [] if force or not path.is_file() else json.loads(path.read_text())
    rows = {row["data"]: row for row in old if row.get("of") == key}
    for row in study.rows(only, rows):
        rows[row["data"]] = row | {"of": key}
        write_json(path, list(rows.values()))
        accuracy = row["metrics"].get("accuracy")
        print(f"{study.run.path}, {row['data']}: {f'accuracy {format_interval(accuracy)}' if accuracy else row['refused']}")
    return list(rows.values())


def name_of(run: Run) -> str:
    """Return a name for the file of a run: its path below `runs`, or its folder's name."""
    path, runs = run.path.resolve(), (ROOT / "runs").resolve()
    parts = path.relative_to(runs).parts if path.is_relative_to(runs) else (run.name.replace(":", "-"),)
    return "-".join(parts)


def chosen(text: str, known: tuple[str, ...]) -> list[str]:
    """Read a list with commas.

    Raises:
        InputError: a word that is not known.
    """
    words = [word for word in text.split(",") if word]
    if strange := [word for word in words if word not in known]:
        raise InputError(f"{strange[0]!r} is none of {', '.join(known)}: choose among them, with commas between")
    return words


def main(arguments: list[str]) -> int:
    """Measure the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--n", type=int, default=900, help="test images of each condition")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of conditions, with commas")
    parser.add_argument("--adapt", default="", help="adaptations, with commas: moments, adda, self-training")
    parser.add_argument("--n-adapt", type=int, default=1500, help="unlabelled images to adapt to")
    parser.add_argument("--epochs", type=int, default=5, help="of an adaptation")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--force", action="store_true", help="begin anew")
    options = parser.parse_args(arguments)
    try:
        only, methods = set(chosen(options.only, KINDS)), tuple(chosen(options.adapt, tuple(METHODS)))
        for name in options.runs:
            config = AdaptConfig(epochs=options.epochs, source_images=options.n_adapt)
            run = Run.open(name)
            study = Study(run, options.n, options.n_adapt, methods, config, options.device)
            measure(study, only, ROWS / f"robustness-{name_of(run)}.json", force=options.force)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
