"""Samples of images for a drift report: some images of a place, drawn at random, and what a trained network says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, Record, Table, read, resize_image
from darklens.errors import InputError
from darklens.evaluate.drift import Sample
from darklens.train.columns import refuse_columns
from darklens.train.predictor import Predictor
from darklens.train.preprocess import check

MOST = 2000
"""Images of a place that are looked at, at most."""
BATCH = 256


def draw_sample(
    path: str | Path,
    *,
    most: int = MOST,
    seed: int = 0,
    bands: str | None = None,
    hdu: int | str | None = None,
    on_skip: Callable[[str, str], None] = lambda what, why: None,
) -> list[Record]:
    """Return images of a place, drawn at random without replacement; the others are read but not kept.

    Args:
        path: a table, or anything that darklens reads.
        most: how many.
        seed: of the draw.
        bands: only these, `g,r,i`.
        hdu: extension of FITS files.
        on_skip: called with name and reason of what cannot be read.

    Raises:
        InputError: nothing can be read, or fewer than one image is asked for.
    """
    if most < 1:
        raise InputError(f"--n {most} images are no sample: give at least 10")
    rng = np.random.default_rng(seed)
    if (Path(path) / MANIFEST).is_file() and bands is None:
        table = Table.open(path)
        rows = np.sort(rng.choice(len(table), most, replace=False)) if len(table) > most else None
        return list(table.records(rows))
    kept: list[Record] = []
    for i, record in enumerate(read(path, bands=bands, hdu=hdu, on_skip=lambda what, why: on_skip(str(what), why))):
        if i < most:
            kept.append(record)
        elif (place := int(rng.integers(i + 1))) < most:  # Vitter (1985), algorithm R
            kept[place] = record
    return kept


def judged(name: str, records: list[Record], predictor: Predictor | None = None, *, resize: bool = False) -> Sample:
    """Return images with what a network sees in them.

    Args:
        name: what to call them.
        records: the images.
        predictor: a trained network, if there is one.
        resize: let it see images of another size, resampled; the statistics are those of the images as they are.

    Raises:
        InputError: images that do not fit the network.
    """
    images = [record.image for record in records]
    if predictor is None:
        return Sample(name, images)
    refuse_columns(predictor.columns, "a drift report")
    size = predictor.shape[1:]
    parts: dict[str, list[Any]] = {"features": [], "probabilities": [], "unusual": []}
    for first in range(0, len(images), BATCH):
        batch = [resize_image(image, size) if resize else image for image in images[first : first + BATCH]]
        inputs, chi2 = predictor.see(np.stack([check(image, predictor.shape, f"an image of {name}") for image in batch]))
        answers = predictor.answers_seen(inputs, chi2)
        parts["features"].append(predictor.features(inputs))
        parts["probabilities"].append(answers.probabilities)
        if answers.unusual is not None:
            parts["unusual"].append(answers.unusual.flags)
    found = {key: np.concatenate(values) if values else None for key, values in parts.items()}
    return Sample(name, images, **found)
