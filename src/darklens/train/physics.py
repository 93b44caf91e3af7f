"""What a network with a lens inside believes of the test images, beside the truth: numbers with intervals, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from darklens.data import MANIFEST, Table
from darklens.evaluate.physics_figures import save_physics_figures
from darklens.evaluate.resampling import number, resamples
from darklens.lensing import SersicEllipse
from darklens.models.relensing import CELL
from darklens.train.answers import BATCH
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor
from darklens.train.preprocess import prepare, scale_of

SHOWN = 3
"""Images whose sources are drawn, one a class as long as there are as many."""
SOURCE = {"amp": "source_amp", "R_sersic": "R_sersic", "n_sersic": "n_sersic", "e1": "source_e1", "e2": "source_e2"} | {
    "center_x": "source_x",
    "center_y": "source_y",
}


def believes(predictor: Predictor) -> bool:
    """Whether the network has a lens that it can be asked for."""
    return hasattr(predictor.model, "physics")


@torch.no_grad()
def evaluate_physics(predictor: Predictor, test: ImageSet, card: dict[str, Any]) -> dict[str, Any]:
    """Compare the network's Einstein radii and sources with the true ones, and write figures and `metrics.json` anew.

    Args:
        predictor: the trained model, which has evaluated the test images.
        test: the test images.
        card: their data card, which says where their truth lies.

    Returns:
        `theta_E` with `error` (mean relative error), `scatter` and, a class, `bias` and `error`, each with its interval; empty
        where the truth is not known. The truth is that of the smooth lens: what clumps or a vortex add within the ring to the mass
        that a lens believes counts as error.
    """
    seen = test.seen_as(predictor.preprocess)
    physics = cast(Callable[[torch.Tensor], dict[str, torch.Tensor]], predictor.model.physics)
    theta_E, pictures = [], []
    chosen = [int(np.flatnonzero(test.labels == k)[0]) for k in range(len(test.classes)) if (test.labels == k).any()][:SHOWN]
    for start in range(0, len(test), BATCH):
        rows = np.arange(start, min(start + BATCH, len(test)))
        found = physics(prepare(seen.batch(rows, predictor.device)[0], predictor.preprocess))
        # a lens may be a map: what its pixels believe in the mean
        theta_E.append(found["theta_E"].reshape(len(rows), -1).mean(1).cpu().numpy())
        pictures += [{k: v[i - start].cpu().numpy() for k, v in found.items() if v.ndim >= 3} for i in chosen if i in rows]
    truth = _truth(test, card)
    believed = np.concatenate(theta_E)
    metrics = _errors(believed, truth["theta_E"], test) if "theta_E" in truth else {}
    inputs = prepare(seen.batch(np.array(chosen))[0], predictor.preprocess)
    place = 1 if predictor.preprocess.input in ("both", "lens") else 0
    sources = [_true_source(truth, i, p["source"].shape[-2:], predictor) for i, p in zip(chosen, pictures, strict=True)]
    names = [test.classes[test.labels[i]] for i in chosen]
    save_physics_figures(
        predictor.run.path / "figures", believed, truth.get("theta_E"), test.labels, test.classes, inputs[:, place].numpy(),
        pictures, sources, names,
    )  # fmt: skip
    if metrics:
        predictor.run.write("metrics", (predictor.run.metrics or {}) | {"physics": metrics})
    return metrics


def _truth(test: ImageSet, card: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the truth columns of the test images, as far as they are known."""
    path = ((card.get("splits") or {}).get("test") or {}).get("path")
    if path is None or not (Path(path) / MANIFEST).is_file():
        return {}
    table = Table.open(path)
    place = {name: i for i, name in enumerate(table.ids)}
    rows = np.array([place.get(name, -1) for name in test.ids])
    wanted = [name for name in ("theta_E", *SOURCE.values()) if name in table.columns]
    return {name: table.column(name)[rows] for name in wanted} if (rows >= 0).all() else {}


def _errors(believed: np.ndarray, true: np.ndarray, test: ImageSet) -> dict[str, Any]:
    error = believed / true - 1
    counts = np.concatenate(list(resamples(test.labels, 1000, 0)))
    n, mean = len(error), counts @ error / len(error)
    found = {
        "error": number(np.abs(error).mean(), counts @ np.abs(error) / n, n, 0.95),
        "scatter": number(error.std(), np.sqrt(np.maximum(counts @ error**2 / n - mean**2, 0)), n, 0.95),
    }
    for k, name in enumerate(test.classes):
        own = test.labels == k
        if own.any():
            weights, off = counts[:, own] / counts[:, own].sum(1, keepdims=True), error[own]
            found[f"bias_{name}"] = number(off.mean(), weights @ off, len(off), 0.95)
            found[f"error_{name}"] = number(np.abs(off).mean(), weights @ np.abs(off), len(off), 0.95)
    return {"theta_E": found}


def _true_source(truth: dict[str, np.ndarray], i: int, shape: tuple[int, int], predictor: Predictor) -> np.ndarray | None:
    """Return the true source on the network's grid of the source plane; None where it is not known."""
    if not set(SOURCE.values()) <= set(truth):
        return None
    cell = CELL * scale_of(predictor.run.model) * predictor.preprocess.bin
    light = SersicEllipse(**{k: torch.tensor([float(truth[v][i])], dtype=torch.float64) for k, v in SOURCE.items()})
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * cell for n in shape)
    return light.intensity(x[None, :], y[:, None])[0].numpy()
