"""A run folder that answers, and its evaluation on other data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError
from darklens.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from darklens.train.answers import Judge
    from darklens.train.predictor import Predictor


class TrainedRun(Run):
    """A run folder that answers: what `train` and `open_run` return.

    Attributes of the folder (`metrics`, `history`, `recipe`, `provenance`, ...) are those of `darklens.runs.Run`.
    """

    @cached_property
    def predictor(self) -> Predictor:
        """The best weights, with preprocessing and calibration."""
        from darklens.train.predictor import Predictor

        return Predictor(self)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return tuple(self.model["classes"])

    def predict(self, images: Any, columns: Mapping[str, Any] | None = None) -> np.ndarray:
        """Return calibrated class probabilities.

        Args:
            images: `(n, bands, H, W)`, `(n, H, W)` or one image; array or tensor, in the units of the training images.
            columns: column -> n numbers, NaN where unknown, for a run that sees columns beside the images.

        Returns:
            `(n, k)` float64, columns as in `classes`.

        Raises:
            InputError: rank, bands, size, values or columns that do not fit.
        """
        return self.predictor.probabilities(images, columns)

    def evaluate(self, path: str | Path, **options: Any) -> dict:
        """Return metrics with intervals on other data; see `darklens.evaluate`."""
        return evaluate(self, path, **options)


def open_run(path: str | Path) -> TrainedRun:
    """Open the folder of a training, or a run that comes with darklens, by its name `MODEL:PRESET`.

    Raises:
        InputError: the folder is no run, or no run of that name is shipped.
    """
    return TrainedRun(Run.open(path).path)


def ensemble(
    runs: Iterable[str | Path | Run],
    *,
    device: str = "auto",
    symmetries: bool | None = None,
    coverage: float | None = None,
    prevalence: float | None = None,
    threshold: str | float | None = None,
    cost_fp: float | None = None,
    cost_fn: float | None = None,
) -> Judge:
    """Return several runs that answer as one: `darklens.ensemble([...]).probabilities(images)`.

    Args:
        runs: runs, their folders, or names of shipped ones; a single one answers alone.
        device: where to compute.
        symmetries: average over the symmetries of the square; None does what each run was trained for.
        coverage: fraction of the conformal sets that hold the true class; 0.9 by default.
        prevalence: fraction of the second of two classes where the probabilities shall hold; None leaves that of training.
        threshold: from which probability of the second class on an image is called that: a number, or "f1" or "cost", chosen on
            validation images; None calls the more probable class.
        cost_fp: of a false positive, for the threshold "cost"; None takes the recipe's.
        cost_fn: of a positive that is missed; None takes the recipe's.

    Raises:
        InputError: a folder is no run, the runs differ in classes or shape, or a wish for two classes that cannot be met.
    """
    from darklens.train.deciding import Deciding
    from darklens.train.ensemble import Ensemble
    from darklens.train.predictor import COVERAGE, Predictor

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    asked = COVERAGE if coverage is None else coverage
    members = [Predictor(run, device, symmetries=symmetries, coverage=asked) for run in opened]
    if coverage is not None and (missing := [m.run.path for m in members if m.threshold is None]):
        raise InputError(f"{missing[0]} has kept no answers on validation images, which a coverage needs: train it again")
    judge = members[0] if len(members) == 1 else Ensemble(members)
    if threshold != "cost" and (cost_fp is not None or cost_fn is not None):
        raise InputError("costs decide nothing without the threshold that they are for: add --threshold cost")
    if prevalence is None and threshold is None:
        return judge
    return Deciding(judge, prevalence=prevalence, threshold=threshold, cost_fp=cost_fp, cost_fn=cost_fn)


def evaluate(
    run: str | Path | Run | Iterable[str | Path | Run],
    path: str | Path,
    *,
    name: str | None = None,
    split: str | None = None,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    symmetries: bool | None = None,
    coverage: float | None = None,
    prevalence: float | None = None,
    threshold: str | float | None = None,
    cost_fp: float | None = None,
    cost_fn: float | None = None,
    calibrate: bool = False,
    on_skip: Callable[[str, str], None] | None = None,
) -> dict:
    """Evaluate a run, or several as one, on other labelled data.

    Results go to `RUN/evaluations/NAME`; those of a shipped run or an ensemble to `evaluations/RUN/NAME` where we stand.

    Args:
        run: the run, its folder, or the name of a shipped one; a list of them is an ensemble.
        path: a table, a tree, anything that darklens reads; for a run of super-resolution a folder of pairs.
        name: name of the evaluation; the data's by default.
        split: only this split of the data.
        group: label in the data -> class of the run.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        device: where to compute.
        out: another folder for the results.
        symmetries: average over the symmetries of the square; None does what the run was trained for.
        coverage: fraction of the conformal sets that hold the true class; 0.9 by default.
        prevalence: fraction of the second of two classes where the probabilities, and the purity, shall hold; see `ensemble`.
        threshold: a probability, "f1" or "cost"; see `ensemble`.
        cost_fp: of a false positive, for the threshold "cost".
        cost_fn: of a positive that is missed.
        calibrate: measure the PSF and the noise of the fits on these images first, without their labels.
        on_skip: receives (name, reason) of what could not be used; by default that is an error.

    Returns:
        The metrics, each headline number with its 95% interval.

    Raises:
        InputError: nothing readable, or a class that the run does not know.
    """
    from darklens.api.calibrating import calibrated
    from darklens.train.evaluation import evaluate_path

    runs = [run] if isinstance(run, str | Path | Run) else list(run)
    judging = (symmetries, coverage, prevalence, threshold, cost_fp, cost_fn, calibrate)
    others = _evaluated_otherwise(runs, Path(path), device, name, split, out, (group, resize, hdu, bands, *judging))
    if others is not None:
        return others
    wishes: dict[str, Any] = {"prevalence": prevalence, "threshold": threshold, "cost_fp": cost_fp, "cost_fn": cost_fn}
    judge = ensemble(runs, device=device, symmetries=symmetries, coverage=coverage, **wishes)
    return evaluate_path(
        calibrated(judge, path, resize=resize, hdu=hdu, bands=bands) if calibrate else judge,
        Path(path),
        name=name,
        split=split,
        group=group or {},
        resize=resize,
        hdu=hdu,
        bands=bands,
        out=None if out is None else Path(out),
        on_skip=on_skip,
    )


def _evaluated_otherwise(
    runs: list[Any], path: Path, device: str, name: str | None, split: str | None, out: str | Path | None, given: tuple[Any, ...]
) -> dict | None:
    """Evaluate what is no classifier, where `given` options of classifiers are all left out; None for classifiers."""
    from darklens.data import is_pairs

    pairs, place = is_pairs(path), None if out is None else Path(out)
    if not pairs and len(runs) > 1:
        return None
    opened = runs[0] if isinstance(runs[0], Run) else Run.open(runs[0])
    if pairs:
        if split or len(runs) > 1 or any(given):
            raise InputError(f"{path} holds pairs, which one run of super-resolution sharpens as they are: leave other options out")
        from darklens.train.enhancer import Enhancer
        from darklens.train.pair_evaluation import evaluate_pairs

        return evaluate_pairs(Enhancer(opened, device), path, name=name, out=place)
    if opened.model.get("task") != "inference":
        return None
    if any(given):
        raise InputError(f"{opened.path} infers numbers and tells no classes apart: leave other options than name and split out")
    from darklens.train.inference.estimator import Estimator
    from darklens.train.inference.other_images import evaluate_parameters

    return evaluate_parameters(Estimator(opened, device), path, name=name, split=split, out=place)
