"""Posteriors of whatever lies at a path: draws, a summary and corner plots, in a folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from darklens.data import Noticed, Record, read, resize_image
from darklens.errors import InputError
from darklens.evaluate.posterior import effective_sample_size, weighted_quantile
from darklens.evaluate.posterior_figures import corner_figure
from darklens.evaluate.vector_figures import save_picture
from darklens.files import write_json
from darklens.train.answers import BATCH
from darklens.train.inference.estimator import Estimator
from darklens.train.preprocess import check, check_bands

TABLE, SUMMARY = "posterior.parquet", "summary.json"
ENOUGH = 50
"""Effective draws below which re-weighting has found nothing: the network's draws then stand, and the summary says so."""
CORNERS = 4
"""Images whose corner plots are drawn."""
QUANTILES = {"low_95": 0.025, "low": 0.16, "value": 0.5, "high": 0.84, "high_95": 0.975}
Weigh = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Images `(n, bands, H, W)`, draws `(n, S, P)` and their log density `(n, S)` to draws and their log weights `(n, S)`."""


@dataclass
class Found:
    """What was inferred of n images.

    Args:
        ids, sources: of the images.
        samples: `(n, S, P)`, of the parameters that were asked for.
        log_weights: `(n, S)`; None where draws count alike.
        unusual: why, in a few words each; empty for images like those of the training, None where nobody knows.
        truth: parameter -> `(n,)` where the images came with it.
        skipped: (name, reason).
        noticed: sentences of the readers.
    """

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    samples: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    log_weights: np.ndarray | None = None
    unusual: list[str | None] = field(default_factory=list)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    noticed: list[str] = field(default_factory=list)

    def effective(self, i: int) -> float:
        """Return the effective number of re-weighted draws of an image."""
        assert self.log_weights is not None, "asked where draws were re-weighted"
        return float(effective_sample_size(self.log_weights[i]))

    def weights(self, i: int) -> np.ndarray:
        """Return the weights `(S,)` of the draws of an image: alike where too few would be left of them."""
        if self.log_weights is None or self.effective(i) < ENOUGH:
            return np.ones(self.samples.shape[1])
        return np.exp(self.log_weights[i] - self.log_weights[i].max())


def infer_records(
    estimator: Estimator,
    path: Path,
    *,
    samples: int,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    weigh: Weigh | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
) -> Found:
    """Draw from the posterior of every image at a path.

    Args:
        estimator: the trained network.
        path: an image, a folder, a table.
        samples: draws an image.
        seed: of the draws.
        parameters: those that are wanted; None for all.
        weigh: re-weights draws; None leaves them alike.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands in the run's order, `g,r,i`.

    Raises:
        InputError: a parameter that the run never learnt, or no image that fits it.
    """
    names = tuple(parameters or estimator.names)
    places = estimator.places(names)
    found, noticed = Found(), Noticed()
    size = estimator.shape[1:] if resize else None
    records = read(path, hdu=hdu, bands=bands, size=size, on_skip=lambda what, why: found.skipped.append((str(what), why)))
    parts, weights, truths = [], [], []
    for batch, images in _fitting(estimator, noticed.watch(records), resize, found.skipped):
        draws = estimator.draws(images, samples, seed + len(found.ids), raw=weigh is not None)
        samples_of = draws.samples
        if weigh is not None:
            samples_of, log_weights = weigh(images, draws.samples, draws.log_prob)
            weights.append(log_weights)
        parts.append(samples_of[:, :, places])
        found.ids += [record.id for record in batch]
        found.sources += [record.source or str(path) for record in batch]
        found.unusual += [None] * len(batch) if draws.unusual is None else list(draws.unusual.because)
        truths += [[record.truth.get(name, np.nan) for name in names] for record in batch]
    if not parts:
        more = f" (and {len(found.skipped) - 1} more that could not be used)" if len(found.skipped) > 1 else ""
        raise InputError(f"{found.skipped[0][1]}{more}" if found.skipped else f"{path} holds no image: give images or a table")
    found.samples, found.noticed = np.concatenate(parts), noticed.lines()
    found.log_weights = np.concatenate(weights) if weights else None
    found.truth = {name: column for name, column in zip(names, np.array(truths, float).T, strict=True) if np.isfinite(column).any()}
    return found


def _fitting(
    estimator: Estimator, records: Iterator[Record], resize: bool, skipped: list[tuple[str, str]]
) -> Iterator[tuple[list[Record], np.ndarray]]:
    """Yield records that fit the run, and their images `(n, bands, H, W)`, batch by batch."""
    stream, wanted = iter(records), tuple(estimator.described.get("band_names") or ())
    while batch := list(islice(stream, BATCH)):
        kept, images = [], []
        for record in batch:
            try:
                check_bands(record.metadata.get("bands"), wanted, record.source or record.id)
                image = resize_image(record.image, estimator.shape[1:]) if resize else record.image
                images.append(check(image, estimator.shape, record.source or record.id))
                kept.append(record)
            except InputError as error:
                skipped.append((record.id, str(error)))
        if kept:
            yield kept, np.stack(images)


def summary_of(found: Found, names: Sequence[str], units: dict[str, str]) -> list[dict[str, Any]]:
    """Return what is said of each image: `{"id", "source", NAME: {"value", "low", "high", "low_95", "high_95"}, "unusual", ...}`.

    An image unlike those of the training is flagged, and why; its intervals hold for images of the training's kind. Where
    re-weighting leaves too few effective draws, `reweighted` is false and the numbers are those of the network alone.
    """
    rows = []
    for i, draws in enumerate(found.samples):
        weights = found.weights(i)
        row: dict[str, Any] = {"id": found.ids[i], "source": found.sources[i]}
        for k, name in enumerate(names):
            numbers = weighted_quantile(draws[:, k], weights, tuple(QUANTILES.values()))
            row[name] = dict(zip(QUANTILES, map(float, numbers), strict=True)) | {"unit": units[name]}
            if name in found.truth and np.isfinite(found.truth[name][i]):
                row[name]["true"] = float(found.truth[name][i])
        why = found.unusual[i]
        row |= {"unusual": None if why is None else bool(why), "unusual_because": why or ""}
        if found.log_weights is not None:
            row |= {"effective_samples": found.effective(i), "reweighted": found.effective(i) >= ENOUGH}
        rows.append(row)
    return rows


def prepare(out: Path, force: bool) -> None:
    """Look whether posteriors may go to a folder; with `force` nothing but posteriors is replaced.

    Raises:
        InputError: the folder holds posteriors that shall not be replaced, or something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / TABLE).is_file():
        raise InputError(f"--out {out} holds something other than posteriors: choose another folder")
    if not force:
        raise InputError(f"--out {out} exists: choose another folder or give --force")


def write_posteriors(
    found: Found, names: Sequence[str], units: dict[str, str], out: Path, about: dict[str, Any], force: bool
) -> dict:
    """Write `posterior.parquet`, `summary.json` and corner plots into a folder.

    Args:
        found: what `infer_records` returned.
        names: of the parameters.
        units: of them.
        out: the folder.
        about: what else the summary says.
        force: replace a folder that is there.

    Returns:
        The summary.

    Raises:
        InputError: the folder is there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    prepare(out, force)
    shape = found.samples.shape[:2]
    columns = {
        "id": np.repeat(np.array(found.ids, dtype=object), shape[1]),
        "draw": np.tile(np.arange(shape[1], dtype=np.int32), shape[0]),
        **{name: found.samples[:, :, k].ravel() for k, name in enumerate(names)},
        "unusual": np.repeat([bool(why) for why in found.unusual], shape[1]),
    }
    if found.log_weights is not None:
        columns["weight"] = np.concatenate([found.weights(i) for i in range(shape[0])])
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    pq.write_table(pa.table(columns), temporary / TABLE)
    content = about | {"images": summary_of(found, names, units), "samples": shape[1]}
    content["skipped"] = [{"path": what, "reason": why} for what, why in found.skipped]
    write_json(temporary / SUMMARY, content)
    for i in range(min(CORNERS, shape[0])):
        save_picture(_corner(found, i, names, units), temporary / ("corner.png" if i == 0 else f"corner-{i + 1}.png"))
    if out.exists():
        shutil.rmtree(out)
    temporary.rename(out)
    return content


def _corner(found: Found, i: int, names: Sequence[str], units: dict[str, str]) -> Figure:
    draws = found.samples[i]
    if found.log_weights is not None:
        weights = found.weights(i)
        draws = draws[np.random.default_rng(i).choice(len(draws), len(draws), p=weights / weights.sum())]
    flagged = f"\nunlike the training images: {found.unusual[i]}" if found.unusual[i] else ""
    truth = np.array([found.truth[name][i] for name in names]) if all(name in found.truth for name in names) else None
    return corner_figure(draws, names, units, f"{found.ids[i]}{flagged}", truth)
