"""A trained inference run on other images whose parameters are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, Table
from darklens.errors import InputError
from darklens.runs import Evaluation
from darklens.train.inference.estimator import Estimator
from darklens.train.inference.evaluation import judge_posteriors
from darklens.train.inference.image_set import ParameterSet, fit_numbers, known_rows, seen

FEWEST = 20
"""Images below which a coverage would be a guess."""


def evaluate_parameters(
    estimator: Estimator, path: Path, *, name: str | None = None, split: str | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Evaluate a run on a table, into `RUN/evaluations/NAME` or `out`.

    Args:
        estimator: the trained network.
        path: a table whose truth columns hold the parameters.
        name: name of the evaluation; the table's by default.
        split: only this split of it.
        out: another folder for the results.

    Raises:
        InputError: no table, images of another size, or too few whose parameters are known.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path} is no table: true parameters stand in the truth columns of one; make it with darklens simulate")
    table = Table.open(path)
    table = table.select(split=split) if split else table
    if table.shape != estimator.shape:
        raise InputError(
            f"{path} has images of {table.shape} and the run was trained on {estimator.shape}: give images of that size"
        )
    kinds = [kind for kind in estimator.described["kinds"] if kind in table.classes] or None
    rows = known_rows(table, np.arange(len(table)), list(estimator.names), kinds)
    if len(rows) < FEWEST:
        raise InputError(f"{path} has {len(rows)} images with known {', '.join(estimator.names)}: coverage needs at least {FEWEST}")
    place = estimator.run.evaluation(name or path.resolve().name) if out is None else Evaluation(out)
    kept = {
        key: table.manifest.get(key) for key in ("preset", "summary", "notes", "instrument", "pixel_scale", "flux_unit", "seed")
    }
    place.write("data", kept | {"source": str(path), "shape": list(table.shape), "rows": len(rows), "checksum": table.checksum})
    return judge_posteriors(estimator, _set(estimator, table, rows), place)


def _set(estimator: Estimator, table: Table, rows: np.ndarray) -> ParameterSet:
    columns = len(estimator.preprocess.columns)
    inputs, fit = seen(table.images(rows), estimator.plan, estimator.preprocess)
    shown, planes = inputs[:, : inputs.shape[1] - columns], inputs[:, inputs.shape[1] - columns :, 0, 0]
    theta = np.stack([table.column(name)[rows] for name in estimator.names], 1)
    numbers = fit_numbers(dict(zip(estimator.preprocess.columns, planes.T, strict=True)), len(rows))
    chi2 = None if fit is None else fit.chi2
    return ParameterSet(shown, numbers, theta, estimator.space, table.ids[rows], table.shape, chi2, rows)
