"""Where does a network look, and is that where the truth is?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklens.errors import InputError, unknown
from darklens.runs import Run

if TYPE_CHECKING:
    from darklens.api.explained import Seen
    from darklens.data import Record
    from darklens.explain import Method, Question, Truth
    from darklens.train.predictor import Predictor

MOST = 500
"""Images that are explained at most: each is looked at thousands of times."""
CHECKED = 3
"""Images on which stability and untrained networks are tried: each of them costs as much as the maps themselves."""
BRIGHTNESS = "brightness"
"""What a map that only follows the light reaches: a reference, not a method."""


def explain(
    run: str | Path | Run,
    path: str | Path,
    out: str | Path,
    *,
    methods: Sequence[str] | None = None,
    n: int = 8,
    features: int = 100,
    projections: Sequence[str] = ("pca", "tsne", "umap"),
    target: str | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    seed: int = 0,
    device: str = "auto",
    force: bool = False,
    on_skip: Callable[[str, str], None] = lambda what, why: None,
    log: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Draw where a classifier looks, and measure what each way of drawing it is worth.

    A folder gets explanation.json (every figure with its interval), maps.npz (`METHOD` maps `(n, h, w)`, `id`, `difference`, ...),
    explanation.html, and pictures. Of rows of a simulation, which their names tell, the truth is drawn again and compared with.

    Args:
        run: a classifier; run, folder or shipped name.
        path: a table, an image, a folder of images.
        out: the folder.
        methods: names in `darklens.explain.METHODS`; by default all that the network allows.
        n: images that are explained, drawn at random, classes in turn where labels are known.
        features: images whose features are drawn on a plane; 0 for none.
        projections: ways of doing that, of pca, tsne, umap.
        target: class that is explained; by default the one that each image is called.
        resize: accept images of another size, by resampling.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.
        seed: of the draw, and of what draws.
        device: where to compute.
        force: replace an explanation that is there.
        on_skip: called with name and reason of what does not fit.
        log: receives sentences.

    Returns:
        What explanation.json holds: `methods` (name -> figures), `left_out`, `truth` (whether it is known, and why not), `images`,
        `noticed` (sentences on pixels that were mended, blank images, and images unlike those of the training).

    Raises:
        InputError: a run that tells no classes apart or sees columns, unknown method, projection or class, a method that the
            network does not allow, no image that fits, or `out` in the way.
        WorkError: the disk is full.
    """
    from darklens.api.explained import question_of, see, truth_of
    from darklens.report.explanation import free_folder, write_explanation
    from darklens.train.columns import refuse_columns
    from darklens.train.predictor import Predictor

    chosen = _checked(methods, projections, n, features)
    folder = free_folder(Path(out), force)
    predictor = Predictor(run if isinstance(run, Run) else Run.open(run), device, symmetries=False)
    refuse_columns(predictor.columns, "an explanation")
    if target is not None:
        _class(predictor, target)  # an unknown one is refused before any work
    records, images = _drawn(predictor, path, max(n, features), seed, resize, hdu, bands, on_skip)
    log(f"images of {path}: {len(records)}, of which {min(n, len(records))} are explained")
    whole = see(predictor, records, images)
    seen = whole.take(_in_turn([record.label for record in records], n))
    noticed = _noticed(seen)
    for line in noticed:
        log(line)
    targets = seen.answers.called if target is None else np.full(len(seen.records), _class(predictor, target))
    truth = truth_of(predictor, seen, Path(path))
    question = question_of(predictor, seen, targets, seed)
    maps, left_out = attributions(question, chosen, asked=methods is not None, log=log)
    found = figures(predictor, seen, question, maps, truth, log=log) | {"left_out": left_out}
    found |= about(predictor, seen, targets, truth, path, seed) | {"noticed": noticed}
    write_explanation(folder, found, predictor, seen, maps, truth, _planes(whole, projections, seed) if features else {})
    return found


def _checked(methods: Sequence[str] | None, projections: Sequence[str], n: int, features: int) -> Any:
    """Return the chosen methods, if all that is asked for can be done."""
    from darklens.explain import chosen_methods
    from darklens.explain.feature_map import check_projections

    check_projections(projections)
    if not 1 <= n <= MOST:
        raise InputError(f"--n {n} images is outside 1 to {MOST}: choose a number in between")
    if features < 0:
        raise InputError(f"--features {features} is below 0: give the number of images whose features are drawn, 0 for none")
    return chosen_methods(methods)


def _class(predictor: Predictor, name: str) -> int:
    if name not in predictor.classes:
        raise unknown("class", name, predictor.classes)
    return predictor.classes.index(name)


def attributions(
    question: Question, chosen: dict[str, Method], *, asked: bool, log: Callable[[str], None] = lambda sentence: None
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """Return method -> maps `(n, h, w)`, and what was left out, with its reason, because the network does not allow it.

    Raises:
        InputError: the network does not allow a method that was asked for by name, or none of all.
    """
    from darklens.explain import maps_of

    maps, left_out = {}, []
    for name, method in chosen.items():
        try:
            maps[name] = maps_of(method, question)
        except InputError as error:
            if asked or not method.for_some:
                raise
            left_out.append({"method": name, "why": str(error)})
            continue
        log(f"{name}: drawn")
    return maps, left_out


def figures(
    predictor: Predictor,
    seen: Seen,
    question: Question,
    maps: dict[str, np.ndarray],
    truth: Truth | str,
    *,
    checked: int = CHECKED,
    log: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Return `methods` and `references`, name -> figure -> number with interval, and `curves`, name -> deletion and insertion.

    Figures beside the truth are of images that substructure disturbs, those of deletion and insertion too where the truth is known:
    what is taken away from an image that has nothing would change no answer. The references are what needs no network: maps in
    random order, the brightness of the image, and chance. Stability and a network of fresh weights, for which the maps are drawn
    anew, are of the first `checked` images.
    """
    from darklens.api.explained import fresh_network
    from darklens.explain import METHODS, mean_with_interval, perturbation_curves, rank_correlation, stability, truth_scores
    from darklens.explain import chance as chance_of
    from darklens.explain.maps import maps_of

    rows = np.arange(len(seen.records)) if isinstance(truth, str) else np.flatnonzero(truth.disturbed)
    picked, few = question.take(rows), question.take(rows[:checked])
    own = None if isinstance(truth, str) else truth.take(rows)
    light = seen.shown[:, 0] - seen.shown[:, 0].min((1, 2), keepdims=True)
    random = np.random.default_rng(question.seed).random(light.shape).astype(np.float32)
    fresh = few.with_network(fresh_network(predictor, question.seed))
    found: dict[str, Any] = {"methods": {}, "references": {}, "curves": {}, "scored": len(rows)}
    for name, values in {**maps, BRIGHTNESS: light, "random": random}.items():
        curves = perturbation_curves(picked, values[rows]) if len(rows) else None
        numbers = {} if curves is None else {"deletion": curves.deletion_area, "insertion": curves.insertion_area}
        if name in maps and len(rows):
            numbers["stability"] = stability(METHODS[name], few, values[rows[:checked]])
            numbers["randomised_weights"] = rank_correlation(values[rows[:checked]], maps_of(METHODS[name], fresh))
        if own is not None and len(rows) and name != "random":
            numbers |= truth_scores(values[rows], own)
        place = found["methods" if name in maps else "references"]
        place[name] = {key: mean_with_interval(each, question.seed) for key, each in numbers.items()}
        if curves is not None:
            means = {"deletion": curves.deletion.mean(0), "insertion": curves.insertion.mean(0)}
            found["curves"][name] = {"fractions": curves.fractions} | means
        log(f"{name}: measured")
    if own is not None and len(rows):
        found["references"]["chance"] = {key: mean_with_interval(each, question.seed) for key, each in chance_of(own).items()}
    return found


def about(predictor: Predictor, seen: Seen, targets: np.ndarray, truth: Truth | str, path: str | Path, seed: int) -> dict[str, Any]:
    """Return what was asked of whom, and what is said of each image."""
    run, probabilities = predictor.run, seen.answers.probabilities
    return {
        "run": str(run),
        "model": run.model["name"],
        "input": predictor.preprocess.input,
        "classes": list(predictor.classes),
        "path": str(path),
        "n": len(seen.records),
        "seed": seed,
        "truth": {"known": not isinstance(truth, str), "why": truth if isinstance(truth, str) else "redrawn from seed and row"},
        "images": [
            {
                "id": record.id,
                "label": record.label,
                "called": predictor.classes[called],
                "explained": predictor.classes[wanted],
                "probability": float(p[wanted]),
                "disturbed": None if isinstance(truth, str) else bool(truth.disturbed[i]),
            }
            for i, (record, p, called, wanted) in enumerate(
                zip(seen.records, probabilities, seen.answers.called, targets, strict=True)
            )
        ],
    }


def _drawn(
    predictor: Predictor,
    path: str | Path,
    most: int,
    seed: int,
    resize: bool,
    hdu: int | str | None,
    bands: str | None,
    on_skip: Callable[[str, str], None],
) -> tuple[list[Record], np.ndarray]:
    """Return images at a path that fit the run, drawn at random, and their checked pixels."""
    from darklens.data import resize_image
    from darklens.train.drift import draw_sample
    from darklens.train.preprocess import check, check_bands

    records, images, skipped = [], [], []
    unread: list[tuple[str, str]] = []
    sample = draw_sample(path, most=most, seed=seed, bands=bands, hdu=hdu, on_skip=lambda what, why: unread.append((what, why)))
    for record in sample:
        name = record.source or record.id
        try:
            check_bands(record.metadata.get("bands"), predictor.bands, name)
            image = resize_image(record.image, predictor.shape[1:]) if resize else record.image
            images.append(check(image, predictor.shape, name))
            records.append(record)
        except InputError as error:
            skipped.append((record.id, str(error)))
    if not records:  # said once, as the refusal
        more = f" (and {len(unread) + len(skipped) - 1} more that could not be used)" if len(unread) + len(skipped) > 1 else ""
        raise InputError(
            f"{skipped[0][1]}{more}" if skipped else f"{path} holds no image: give a table, an image, or a folder of images"
        )
    for what, why in unread + skipped:
        on_skip(what, why)
    return records, np.stack(images)


def _noticed(seen: Seen) -> list[str]:
    """Return sentences on what the readers did to images that are explained, and on those that the network does not know."""
    from darklens.data import Noticed

    noticed = Noticed()
    for record in seen.records:
        noticed.add(record)
    unusual = seen.answers.unusual
    if unusual is None or not unusual.flags.any():
        return noticed.lines()
    strange = f"{unusual.flags.sum()} of {len(seen.records)} images explained look unlike the training data"
    return [*noticed.lines(), f"{strange}: where the network looks in them says little"]


def _in_turn(labels: Sequence[str | None], n: int) -> np.ndarray:
    """Return the positions of n images, the first of each class, the second of each, and so on."""
    seen: dict[str | None, int] = {}
    rounds = []
    for label in labels:
        rounds.append(seen.setdefault(label, 0))
        seen[label] += 1
    return np.argsort(rounds, kind="stable")[:n]


def _planes(whole: Seen, projections: Sequence[str], seed: int) -> dict[str, Any]:
    """Return projection -> places `(m, 2)`, and the labels of the m images; nothing of fewer images than a plane needs."""
    from darklens.evaluate.vectors import FEWEST
    from darklens.explain.feature_map import project

    if len(whole.records) < FEWEST or not projections:
        return {}
    labels = [record.label for record in whole.records]
    return {"labels": labels, "places": {name: project(whole.features, name, seed) for name in projections}}
