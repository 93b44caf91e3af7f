"""A run folder that answers, and its evaluation on other data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.runs import Run

if TYPE_CHECKING:
    import numpy as np

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

    def predict(self, images: Any) -> np.ndarray:
        """Return calibrated class probabilities.

        Args:
            images: `(n, bands, H, W)`, `(n, H, W)` or one image; array or tensor, in the units of the training images.

        Returns:
            `(n, k)` float64, columns as in `classes`.

        Raises:
            InputError: rank, bands, size or values that do not fit.
        """
        return self.predictor.probabilities(images)

    def evaluate(self, path: str | Path, **options: Any) -> dict:
        """Return metrics with intervals on other data; see `darklens.evaluate`."""
        return evaluate(self, path, **options)


def open_run(path: str | Path) -> TrainedRun:
    """Open the folder of a training.

    Raises:
        InputError: the folder is no run.
    """
    return TrainedRun(Run.open(path).path)


def evaluate(
    run: str | Path | Run,
    path: str | Path,
    *,
    name: str | None = None,
    split: str | None = None,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    device: str = "auto",
    on_skip: Callable[[str, str], None] | None = None,
) -> dict:
    """Evaluate a run on other labelled data; results go to `RUN/evaluations/NAME`.

    Args:
        run: the run or its folder.
        path: a table, a tree, anything that darklens reads.
        name: name of the evaluation; the data's by default.
        split: only this split of the data.
        group: label in the data -> class of the run.
        resize: accept images of another size.
        hdu: extension of FITS files.
        device: where to compute.
        on_skip: receives (name, reason) of what could not be used; by default that is an error.

    Returns:
        The metrics, each headline number with its 95% interval.

    Raises:
        InputError: nothing readable, or a class that the run does not know.
    """
    from darklens.train.evaluation import evaluate_path
    from darklens.train.predictor import Predictor

    folder = run if isinstance(run, Run) else Run.open(run)
    return evaluate_path(
        Predictor(folder, device),
        Path(path),
        name=name,
        split=split,
        group=group or {},
        resize=resize,
        hdu=hdu,
        on_skip=on_skip,
    )
