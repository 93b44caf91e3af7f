"""What a run sees of images, and what is true of them, ready to be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from darklens.data import Record
    from darklens.explain import Question, Truth
    from darklens.train.answers import Answers
    from darklens.train.predictor import Predictor

SAME = 1e-3
"""Part of an image's range by which it may differ from what its name says was simulated."""


@dataclass(frozen=True)
class Seen:
    """Images as a run sees them, with its answers.

    Args:
        records: the images with their names.
        images: `(n, bands, H, W)`.
        inputs: `(n, C, h, w)` prepared, a tensor on the run's device.
        answers: what the run says.
        features: `(n, d)` what its last layer sees.
        shown: `(n, bands, h, w)` the images on the pixels of what the run sees.
        model: `(n, h, w)` the smooth lens on these pixels, where one is fitted, and `residual` in units of the noise; else None.
        residual: see `model`.
    """

    records: list[Record]
    images: np.ndarray
    inputs: Any
    answers: Answers
    features: np.ndarray
    shown: np.ndarray
    model: np.ndarray | None = None
    residual: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Seen:
        """Return some of them."""
        from darklens.train.answers import Answers

        unusual = None if self.answers.unusual is None else self.answers.unusual.take(rows)
        return replace(
            self,
            records=[self.records[i] for i in rows],
            images=self.images[rows],
            inputs=self.inputs[rows],
            answers=Answers(self.answers.probabilities[rows], chosen=self.answers.called[rows], unusual=unusual),
            features=self.features[rows],
            shown=self.shown[rows],
            model=None if self.model is None else self.model[rows],
            residual=None if self.residual is None else self.residual[rows],
        )


def see(predictor: Predictor, records: Sequence[Record], images: np.ndarray) -> Seen:
    """Look at checked images `(n, bands, H, W)`."""
    import torch

    from darklens.train.fitted import network_inputs
    from darklens.train.preprocess import prepare

    inputs, fit = network_inputs(images, predictor.plan, predictor.preprocess)
    prepared = prepare(torch.from_numpy(np.ascontiguousarray(inputs)).to(predictor.device), predictor.preprocess)
    answers = predictor.answers_seen(inputs, None if fit is None else fit.chi2)
    fitted = {} if fit is None else {name: as_seen(predictor, getattr(fit, name)) for name in ("model", "residual")}
    shown = np.stack([as_seen(predictor, images[:, band]) for band in range(images.shape[1])], 1)
    return Seen(list(records), images, prepared, answers, predictor.features(inputs), shown, **fitted)


def question_of(predictor: Predictor, seen: Seen, targets: np.ndarray, seed: int = 0) -> Question:
    """Return the question why the run speaks for these classes, `(n,)` indices."""
    import torch

    from darklens.explain import Question

    wanted = torch.from_numpy(np.asarray(targets)).to(predictor.device)
    return Question.of(predictor.model, predictor.task, seen.inputs, wanted, kind=predictor.preprocess.input, seed=seed)


def fresh_network(predictor: Predictor, seed: int) -> Any:
    """Return the run's network with weights that never saw an image."""
    from darklens.models import for_trained
    from darklens.train.predictor import build_model

    described = predictor.run.model
    fresh = described | {"options": for_trained(described["options"]), "seed": described["seed"] + 1 + seed}
    return build_model(fresh, predictor.task.outputs).to(predictor.device).eval()


def truth_of(predictor: Predictor, seen: Seen, place: Path | None = None) -> Truth | str:
    """Return what is true of simulated images, on the pixels of what the run sees, or in words why it is not known.

    An image's name says which row of which simulation it is; the row is drawn again, with and without its substructure.

    Args:
        predictor: the run, for its crop and its bins.
        seen: n images with their names, as the run sees them.
        place: table that they are from, whose manifest says if another instrument was used.
    """
    from darklens.explain import Truth
    from darklens.simulate import row_of

    records, images, inputs = seen.records, seen.images, seen.inputs
    rows = [row for row in (row_of(record.id) for record in records) if row is not None]
    if not rows or len(rows) < len(records):
        return "the images are not rows of a simulation"
    parts = []
    for record, row, image in zip(records, rows, images, strict=True):
        if (part := _redrawn(row, image, place)) is None:
            return f"{record.id} is not what its preset draws today"
        parts.append(part)
    scale = predictor.run.model["pixel_scale"]
    twins = see(predictor, records, np.stack([twin for _, twin in parts]))
    return Truth(
        np.concatenate([as_seen(predictor, part.difference) for part, _ in parts]),
        np.concatenate([as_seen(predictor, part.smooth) for part, _ in parts]),
        tuple(_on_pixels(predictor, part.positions[0], images.shape[-2:], scale) for part, _ in parts),
        (inputs - twins.inputs).abs().sum(1).cpu().numpy(),
    )


def _redrawn(row: tuple[str, int, int], image: np.ndarray, place: Path | None) -> tuple[Any, np.ndarray] | None:
    """Return the disturbance of one row, and the image without it, with its noise; None where the preset draws another image."""
    from darklens.simulate import disturbance, instrument, preset

    name, seed, number = row
    chosen = preset(name)
    seen_by = _instrument_of(place)
    if chosen.survey is not None or chosen.bands:
        return None
    if seen_by and seen_by != chosen.instrument.name:
        chosen = chosen.observed_in([instrument(seen_by)])
    scene = chosen.draw(1, seed, number)
    drawn, truth = chosen.images(scene)
    if drawn[0].shape != image.shape or np.abs(drawn[0] - image).max() > SAME * np.ptp(image):
        return None
    return disturbance(chosen, scene, truth), chosen.images(scene.smooth())[0][0]


def _instrument_of(place: Path | None) -> str | None:
    from darklens.data import MANIFEST, Table

    if place is None or not (place / MANIFEST).is_file():
        return None
    return (Table.open(place).manifest.get("instrument") or {}).get("name")


def as_seen(predictor: Predictor, maps: np.ndarray) -> np.ndarray:
    """Return maps of images `(n, H, W)` on the pixels of what the run sees: cropped, and means of bins, `(n, h, w)`."""
    import torch
    from torch.nn.functional import avg_pool2d

    from darklens.train.preprocess import central

    settings, found = predictor.preprocess, torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float64))
    found = found if settings.crop is None else central(found, settings.crop)
    return (avg_pool2d(found[:, None], settings.bin)[:, 0] if settings.bin > 1 else found).numpy()


def _on_pixels(predictor: Predictor, places: np.ndarray, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Return row and column, on the pixels of what the run sees, of places `(m, 2)` in arcsec."""
    settings = predictor.preprocess
    found = places[:, ::-1] / scale + (np.array(shape) - 1) / 2
    if settings.crop is not None:
        found = found - (np.array(shape) - settings.crop) // 2
    return (found + 0.5) / settings.bin - 0.5
