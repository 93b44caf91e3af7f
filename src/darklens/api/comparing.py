"""Runs side by side, and the page about them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from darklens.errors import InputError
from darklens.runs import Run


def compare(runs: Iterable[str | Path | Run], *, on: str | None = None) -> dict:
    """Compare runs on the same images.

    Args:
        runs: two or more runs.
        on: name of an evaluation on other data; the test split by default.

    Returns:
        `{"runs": {name: metrics}, "pairs": [paired differences]}`.

    Raises:
        InputError: fewer than two runs, or their images differ.
    """
    from darklens.evaluate import compare_predictions
    from darklens.report import tells_classes

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    for run in opened:
        if run.metrics is not None and not tells_classes(run):
            raise InputError(f"{run.path} tells no classes apart: its figures, with those of its baselines, are in darklens report")
    if len(opened) < 2:
        raise InputError(f"{len(opened)} run given: a comparison needs at least 2")
    places = {run.path.resolve().name if not run.shipped else run.name: (run.evaluation(on) if on else run) for run in opened}
    if len(places) < len(opened):
        places = {str(run.path): (run.evaluation(on) if on else run) for run in opened}
    named = {}
    for name, place in places.items():
        if place.metrics is None:
            raise InputError(f"{place.path} has no metrics yet: run darklens evaluate on it first")
        named[name] = (place.predictions(), place.metrics["classes"])
    pairs = compare_predictions(named)
    return {"runs": {name: place.metrics for name, place in places.items()}, "pairs": pairs}


def report(runs: Iterable[str | Path | Run], out: str | Path, *, title: str | None = None) -> Path:
    """Write one self-contained HTML page about runs, with paired comparisons of those that share a test set.

    Raises:
        InputError: a folder is no run, or has no results yet.
    """
    from darklens.report import render_plain, render_report, tells_classes

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    if any(run.metrics is not None and not tells_classes(run) for run in opened):
        render_plain(opened, Path(out), **({"title": title} if title else {}))
        return Path(out)
    pairs = []
    for group in _by_test_set(opened):
        try:
            pairs += compare(group)["pairs"] if len(group) > 1 else []
        except InputError:
            continue  # other rows of the same table: such runs stand side by side without a paired comparison
    render_report(opened, Path(out), comparison=pairs or None, **({"title": title} if title else {}))
    return Path(out)


def _by_test_set(runs: list[Run]) -> list[list[Run]]:
    """Group runs that were tested on the same images."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        test = ((run.data or {}).get("splits") or {}).get("test") or {}
        groups.setdefault(str(test.get("checksum") or run.path), []).append(run)
    return list(groups.values())
