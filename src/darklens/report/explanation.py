"""An explanation as files: figures (JSON), maps (NPZ), pictures (PNG), and a page on which images can be opened (HTML)."""

from __future__ import annotations

import datetime
import importlib.metadata
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklens import files
from darklens.evaluate.explanation_figures import save_curves, save_maps, save_planes
from darklens.evaluate.figure_set import save_first_maps
from darklens.evaluate.tiles import signed_tile, sky_tile, strength_tile
from darklens.explain import METHODS, Truth
from darklens.files import plain, write_atomic, write_json
from darklens.report.page import environment, pictures_of
from darklens.runs import Evaluation
from darklens.train.evaluation import feature_maps

if TYPE_CHECKING:
    from darklens.train.predictor import Predictor

JSON, PAGE, MAPS = "explanation.json", "explanation.html", "maps.npz"
FIGURES = {
    "deletion": ("deletion", "area under the curve; smaller is better", -1),
    "insertion": ("insertion", "area under the curve; larger is better", 1),
    "pointing_subhalo": ("hits a subhalo", "fraction of the images in which the largest value is within 2 pixels of one", 1),
    "pointing_perturbation": ("hits the perturbation", "fraction of the images in which the largest value is there", 1),
    "on_arcs": ("finds it on the arcs", "probability that a pixel of the perturbation is above one of the arcs", 1),
    "correlation": ("correlation", "of ranks, with the magnitude of the true difference", 1),
    "correlation_seen": ("correlation, as seen", "of ranks, with what that difference is in what the network sees", 1),
    "share_perturbation": ("on the perturbation", "part of the map", 1),
    "share_arcs": ("on the arcs", "part of the map, on what is bright beside the perturbation", 0),
    "share_elsewhere": ("elsewhere", "part of the map", 0),
    "stability": ("stability", "rank correlation with the map under a little noise; larger is better", 1),
    "randomised_weights": ("randomised weights", "rank correlation with the map of an untrained network; should be near 0", 0),
}
"""Figure -> what the page calls it, what it is, and whether more is better (1), worse (-1) or neither."""


def free_folder(out: Path, force: bool) -> Path:
    """Return the folder to write into.

    Raises:
        InputError: it is a file, holds something else, or holds an explanation and `force` is not given.
    """
    return files.free_folder(out, JSON, "is no explanation", force)


def write_explanation(
    out: Path,
    content: dict[str, Any],
    predictor: Predictor,
    seen: Any,
    maps: Mapping[str, np.ndarray],
    truth: Truth | str,
    planes: Mapping[str, Any],
) -> None:
    """Write the folder; arguments as `darklens.explain` makes them. `explanation.json` comes last: with it, the folder is complete.

    Raises:
        WorkError: the disk is full.
    """
    known = None if isinstance(truth, str) else truth
    _pictures(out / "figures", content, predictor, seen, maps, known, planes)
    arrays: dict[str, Any] = {**maps, "id": np.array([record.id for record in seen.records])}
    arrays |= {} if known is None else {"difference": known.difference, "smooth": known.smooth}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(out / MAPS, buffer.getvalue())
    page = environment().get_template("explain.html").render(
        title=f"Where {Path(content['run']).name} looks",
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        content=content,
        labels={key: value for key, value in FIGURES.items() if any(key in m for m in content["methods"].values())},
        summaries={name: METHODS[name].summary for name in maps},
        items=items(content, seen, maps, known),
        figures=pictures_of(Evaluation(out)),
        version=importlib.metadata.version("darklens"),
    )  # fmt: skip
    write_atomic(out / PAGE, page)
    write_json(out / JSON, plain(content))


def items(content: dict[str, Any], seen: Any, maps: Mapping[str, np.ndarray], truth: Truth | None) -> list[dict[str, Any]]:
    """Return what the page shows of each image when it is opened: a name, facts, and layers (name, picture)."""
    found = []
    for i, about in enumerate(content["images"]):
        layers = [("image", sky_tile(seen.shown[i]))]
        if seen.model is not None:
            layers += [("smooth model", sky_tile(seen.model[i][None])), ("residual", signed_tile(seen.residual[i]))]
        if truth is not None:
            layers.append(("truth: what substructure changes", signed_tile(truth.difference[i])))
            layers += [] if truth.seen is None else [("the same, as the network sees it", strength_tile(truth.seen[i]))]
        layers += [(name, strength_tile(values[i])) for name, values in maps.items()]
        facts = [("true class", about["label"] or "unknown"), ("called", about["called"])]
        facts += [(f"probability of {about['explained']}", f"{about['probability']:.4f}")]
        wrong = about["label"] is not None and about["label"] != about["called"]
        found.append({"name": about["id"], "facts": facts, "layers": layers, "wrong": wrong})
    return found


def _pictures(
    out: Path,
    content: dict[str, Any],
    predictor: Predictor,
    seen: Any,
    maps: Mapping[str, np.ndarray],
    truth: Truth | None,
    planes: Mapping[str, Any],
) -> None:
    layers: dict[str, np.ndarray] = {} if seen.residual is None else {"residual": seen.residual}
    layers |= {} if truth is None else {"truth": truth.difference}
    titles = [f"{about['label'] or 'image'}, p = {about['probability']:.2f}" for about in content["images"]]
    save_maps(out, seen.shown[:, 0], titles, {**layers, **maps}, signed=("residual", "truth"))
    if content["curves"]:
        save_curves(out, content["curves"], content["scored"])
    called = [about["label"] or about["called"] for about in content["images"]]
    first = [called.index(name) for name in dict.fromkeys(called)]
    inputs = seen.inputs[first]
    save_first_maps(out, feature_maps(predictor, inputs), inputs[:, 0].cpu().numpy(), [called[k] for k in first])
    if planes:
        save_planes(out, planes["places"], planes["labels"])
