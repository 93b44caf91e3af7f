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
            raise InputError(f"{run} tells no classes apart: its figures, with those of its baselines, are in darklens report")
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


def comparison_page(runs: Iterable[str | Path | Run], out: str | Path, *, title: str | None = None) -> Path:
    """Write one self-contained HTML page that sets any number of runs of any tasks side by side.

    Runs that were tested on the same images stand together, with their paired differences and their curves in one drawing.

    Raises:
        InputError: fewer than two runs, a folder is no run or has no results yet, or a file that is no page.
    """
    from darklens.api.looking import roc_curves
    from darklens.report import names_of, render_comparison, tells_classes

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    if len(opened) < 2:
        raise InputError(f"{len(opened)} run given: a comparison needs at least 2")
    path = _page(out)
    groups = sorted(_by_test_set(opened), key=lambda group: not tells_classes(group[0]))
    names = dict(zip((run.path for run in opened), names_of(opened), strict=True))
    pairs = {str(group[0].path): _paired(group, [names[run.path] for run in group]) for group in groups}
    curves = {str(run.path): roc_curves(run) for run in opened if tells_classes(run)}
    render_comparison(groups, path, pairs=pairs, curves=curves, **({"title": title} if title else {}))
    return path


def report(runs: Iterable[str | Path | Run], out: str | Path, *, title: str | None = None, mistakes: int = 8) -> Path:
    """Write one self-contained HTML page about runs, with paired comparisons of those that share a test set.

    Args:
        runs: finished runs, of one task or of several.
        out: HTML file.
        title: heading.
        mistakes: of each classifier so many of its most confident mistakes can be opened; 0 leaves them out.

    Raises:
        InputError: a folder is no run, or has no results yet, or a file that is no page.
    """
    from darklens.api.looking import mistakes as opened_mistakes
    from darklens.api.looking import roc_curves
    from darklens.report import names_of, render_plain, render_report, tells_classes

    if mistakes < 0:
        raise InputError(f"--mistakes {mistakes} is below 0: give how many can be opened, 0 for none")
    opened, path = [run if isinstance(run, Run) else Run.open(run) for run in runs], _page(out)
    titled = {"title": title} if title else {}
    if any(run.metrics is not None and not tells_classes(run) for run in opened):
        render_plain(opened, path, **titled)
        return path
    looks = {}
    for run in opened if all(run.metrics for run in opened) else []:
        shown, why = opened_mistakes(run, mistakes) if mistakes else ([], "")
        looks[str(run.path)] = {"curves": roc_curves(run), "mistakes": shown, "no_mistakes": why}
    names = dict(zip((run.path for run in opened), names_of(opened), strict=True))
    pairs = [pair for group in _by_test_set(opened) for pair in _paired(group, [names[run.path] for run in group])]
    render_report(opened, path, comparison=pairs or None, looks=looks, **titled)
    return path


def _page(out: str | Path) -> Path:
    if Path(out).suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {out} is no .html file: the page is HTML")
    return Path(out)


def _paired(group: list[Run], names: list[str]) -> list[dict]:
    """Return the paired differences of runs that were tested on the same table, under these names.

    There are none where they saw other rows of it, or tell no classes apart.
    """
    if len(group) < 2:
        return []
    try:
        content = compare(group)
    except InputError:
        return []
    called = dict(zip(content["runs"], names, strict=True))
    return [pair | {"a": called[pair["a"]], "b": called[pair["b"]]} for pair in content["pairs"]]


def _by_test_set(runs: list[Run]) -> list[list[Run]]:
    """Group runs that were tested on the same images."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        test = ((run.data or {}).get("splits") or {}).get("test") or {}
        groups.setdefault(str(test.get("checksum") or run.path), []).append(run)
    return list(groups.values())
