"""What a page shows beyond the numbers of a run: curves that can be read off, and mistakes that can be opened."""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.runs import Run


def roc_curves(run: Run) -> dict[str, list[tuple[float, float]]]:
    """Return class -> points (false, true positive rate) of its ROC curve against the rest, on the run's test images.

    Nothing for a run that comes with darklens: its predictions stayed behind.
    """
    from darklens.evaluate.curves import roc_curve

    if run.shipped:
        return {}
    found = run.predictions()
    labels, curves = found["label"], {}
    for name in run.model["classes"]:
        positive = labels == name
        if positive.any() and not positive.all():
            false, true = roc_curve(np.asarray(found[name], float), positive)
            corner = np.append(np.diff(false) > 0, True)  # the highest point over each false positive rate
            curves[name] = list(zip(false[corner].tolist(), true[corner].tolist(), strict=True))
    return curves


def mistakes(run: Run, most: int = 8) -> tuple[list[dict[str, Any]], str]:
    """Return the most confident mistakes on the test images, each with layers to look at, or why there are none.

    The images are taken from the run's test table, or, where that has gone, drawn again from the seed and row in their names.

    Args:
        run: a finished classifier.
        most: how many.
    """
    from darklens.api.explained import question_of, see, truth_of
    from darklens.api.explaining import about, attributions
    from darklens.explain import METHODS
    from darklens.report.explanation import items
    from darklens.train.columns import refuse_columns
    from darklens.train.predictor import Predictor

    if run.shipped:
        return [], "a run that comes with darklens has no predictions with it"
    found = run.predictions()
    classes = run.model["classes"]
    p = np.stack([np.asarray(found[name], float) for name in classes], 1)
    called = np.array(classes, dtype=object)[p.argmax(1)]
    wrong = np.flatnonzero((called != found["label"]) & np.array([label is not None for label in found["label"]]))
    chosen = wrong[np.argsort(-p[wrong].max(1), kind="stable")][:most]
    if not len(chosen):
        return [], "no test image was called wrongly" if most else ""
    try:
        _ = run.weights  # a run without them is refused before its images are sought
        if (records := _images(run, [str(found["id"][i]) for i in chosen])) is None:
            return [], "the test images are no longer where they were"
        predictor = Predictor(run, "cpu", symmetries=False)
        refuse_columns(predictor.columns, "an explanation")
        seen = see(predictor, records, predictor.checked(np.stack([record.image for record in records])))
    except InputError as error:
        return [], str(error)
    targets = seen.answers.called
    truth = truth_of(predictor, seen)
    methods = {name: METHODS[name] for name in ("grad-cam", "occlusion")}
    maps, _ = attributions(question_of(predictor, seen, targets), methods, asked=False)
    content = about(predictor, seen, targets, truth, "", 0)
    return items(content, seen, maps, None if isinstance(truth, str) else truth), ""


def _images(run: Run, ids: list[str]) -> list[Any] | None:
    """Return the records of some test images in that order; None where one of them is not to be had."""
    from darklens.data.finding import find_images
    from darklens.data.record import Record
    from darklens.simulate import preset, row_of

    place = (((run.data or {}).get("splits") or {}).get("test") or {}).get("path")
    there = find_images(ids, [place or ""] * len(ids))
    if len(there) == len(ids):
        return [there[name] for name in ids]
    rows = [row for row in map(row_of, ids) if row is not None]
    if len(rows) < len(ids):
        return None
    records = []
    for name, (kind, seed, row) in zip(ids, rows, strict=True):
        scene = preset(kind).draw(1, seed, row)
        records.append(Record(id=name, image=preset(kind).images(scene)[0][0], label=scene.labels[0]))
    return records
