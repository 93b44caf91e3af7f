"""From a trained localisation run and lenses with known clumps to numbers with intervals, predictions and pictures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from darklens.evaluate.detections import detection_metrics, match, mean
from darklens.evaluate.localisation_figures import save_localisation_figures
from darklens.evaluate.proportion import proportion
from darklens.fit.evidence import CHANNELS
from darklens.runs import Evaluation
from darklens.train.clump_set import ClumpSet
from darklens.train.localiser import Detections, Localiser

BRIGHT = 0.25
"""Of the smooth model's peak: a pixel from here on belongs to a bright arc."""
HEADLINE = ("log10_m_50", "log10_m_50_on_arcs", "false_positives", "place_error", "mass_bias", "mass_scatter", "mass_coverage")
FEWEST = 5


def judge_localiser(
    localiser: Localiser, images: ClumpSet, into: Evaluation, *, history: Sequence[dict[str, float]] = ()
) -> dict[str, Any]:
    """Look for the clumps of a set, and write metrics, predictions (one row a clump) and figures into a folder.

    Args:
        localiser: the trained run, its threshold set.
        images: the set.
        into: the folder.
        history: rows of `history.csv`, for the run itself.

    Returns:
        The metrics; they are written last.
    """
    maps = localiser.maps(images.images)
    found = localiser.peaks(maps).above(localiser.threshold)
    table = matched(found, images, localiser.scale, localiser.settings["tolerance"])
    metrics = measured(table, found, images) | {"task": "localisation", "classes": [], "network": localiser.described["name"]}
    metrics |= {"threshold": localiser.threshold, "tolerance": localiser.settings["tolerance"]}
    metrics["headline"] = [name for name in HEADLINE if metrics.get(name)]
    into.write_predictions({name: table[name] for name in table if name != "false"})
    heat = 1 / (1 + np.exp(-maps[:, 0]))
    save_localisation_figures(into.path / "figures", images, heat, found, metrics, history, scale=localiser.scale)
    into.write("metrics", metrics)
    return metrics


def arc_distance(images: np.ndarray, scale: float) -> np.ndarray:
    """Return arcsec from every pixel to the nearest bright arc, `(n, h, w)`, of evidence maps."""
    model = images[:, CHANNELS.index("model")]
    return np.stack([distance_transform_edt(one < BRIGHT * one.max()) * scale for one in model])


def matched(found: Detections, images: ClumpSet, scale: float, tolerance: float) -> dict[str, np.ndarray]:
    """Return a row for each clump: id, x, y, log10_m, distance to the arcs, and what was found of it; and `false` of each image."""
    rows: dict[str, list[Any]] = {name: [] for name in ("id", "x", "y", "log10_m", "distance", *_FOUND)}
    away, false = arc_distance(images.images, scale), np.zeros(len(images), int)
    height, width = images.shape[1:]
    for i, clumps in enumerate(images.clumps):
        clumps = clumps[np.isfinite(clumps[:, 2])]
        mine = np.flatnonzero(found.image == i)
        mine = mine[np.argsort(-found.score[mine])]
        pairs = match(np.stack([found.x[mine], found.y[mine]], 1), clumps[:, :2], tolerance)
        false[i] = int((pairs < 0).sum())
        for k, (x, y, log10_m) in enumerate(clumps):
            row, column = round(y / scale + 0.5 * (height - 1)), round(x / scale + 0.5 * (width - 1))
            place = away[i, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            which = mine[pairs == k]
            said = [float(getattr(found, name)[which[0]]) if len(which) else np.nan for name in _SAID]
            for name, value in zip(rows, (images.ids[i], x, y, log10_m, place, len(which) > 0, *said), strict=True):
                rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()} | {"false": false}


_SAID = ("score", "x", "y", "place_error", "log10_m", "mass_error")
_FOUND = ("found", *(f"found_{name}" for name in _SAID))


def measured(table: dict[str, np.ndarray], found: Detections, images: ClumpSet) -> dict[str, Any]:
    """Return completeness, false positives, and how good places, masses and their errors are."""
    free = ~np.isfinite(images.clumps[..., 2]).any(1)
    hit = table["found"].astype(bool)
    metrics = detection_metrics(table["log10_m"], hit, table["distance"], table["false"][free], table["false"])
    metrics |= {"n": len(images), "clumps": len(hit), "found": proportion(int(hit.sum()), len(hit)) if len(hit) else None}
    if hit.sum() < FEWEST:
        return metrics
    dx, dy = table["found_x"][hit] - table["x"][hit], table["found_y"][hit] - table["y"][hit]
    dm = table["found_log10_m"][hit] - table["log10_m"][hit]
    place, mass = table["found_place_error"][hit], table["found_mass_error"][hit]
    return metrics | {
        "place_error": mean(np.hypot(dx, dy)),
        "place_coverage": proportion(int((np.hypot(dx, dy) < 1.5096 * place).sum()), len(dx)),  # 68% of a round Gaussian
        "mass_bias": mean(dm),
        "mass_scatter": mean(np.abs(dm)),
        "mass_coverage": proportion(int((np.abs(dm) < mass).sum()), len(dm)),
    }
