"""Numbers of a table that a network sees beside the images: magnitudes, colours, the seeing (`preprocess.columns`).

They travel behind the bands, each as a plane of one value: whatever cuts, shuffles, shares or sends images takes them along.
Nothing is done to the planes until the network takes a pixel of each (`darklens.models.tabular`). NaN is a value that is not known
of an image; a place that has no such column at all is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, RESERVED, Catalogue, Record, Table, is_catalogue
from darklens.data.parts import Cutouts
from darklens.errors import InputError, unknown

LEAK = 0.5
"""Difference between two classes in how often a column is known, beyond which knowing it says the class."""
FEW = 5
"""Images of a class below which one and the same value may be chance."""
REMEDY = "leave it out of preprocess.columns"
GIVE = "give a table, or a catalogue that lists the files (.csv, .parquet), with that column"


def with_planes(images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return images `(n, bands, H, W)` with a plane for each column of `values` `(n, C)` behind the bands, float32."""
    if not values.shape[1]:
        return images
    shape = (*values.shape, *images.shape[2:])
    planes = np.broadcast_to(_known(values)[:, :, None, None], shape)
    return np.concatenate([images, planes], axis=1)


def apart(images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images without their last `count` planes, and what stands in them, `(n, count)`."""
    bands = images.shape[1] - count
    return images[:, :bands], images[:, bands:, 0, 0]


def _known(values: np.ndarray) -> np.ndarray:
    """Return values as float32, NaN for what is no number."""
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)


def taken_from(table: Table, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return columns of a table, `(n,)` float32 each, NaN where unknown.

    Raises:
        InputError: the table has no such column of numbers.
    """
    numbers = [name for name in table.columns if name not in RESERVED]
    for name in names:
        if name not in numbers:
            raise unknown(f"column of numbers of {table.path or 'the table'}", name, numbers)
    return {name: _known(table.column(name)) for name in names}


def stacked(columns: Mapping[str, Any], names: Sequence[str], n: int) -> np.ndarray:
    """Return what a caller gave as columns of n images, `(n, C)` float32.

    Raises:
        InputError: one is missing, has another length, or is not asked for.
    """
    if columns and not names:
        raise InputError(f"this run sees images alone and is given column {next(iter(columns))!r}: leave columns out")
    if strange := next((name for name in columns if name not in names), None):
        raise unknown("column of this run", strange, names)
    if missing := next((name for name in names if name not in columns), None):
        raise InputError(f"this run sees column {missing!r} beside the images: give it, columns={{{missing!r}: [...]}}")
    arrays = {name: np.asarray(columns[name], dtype=np.float32).reshape(-1) for name in names}
    if wrong := next((name for name, array in arrays.items() if len(array) != n), None):
        raise InputError(f"column {wrong!r} has {len(arrays[wrong])} values for {n} images: give one for each")
    return np.stack(list(arrays.values()), 1) if arrays else np.zeros((n, 0), np.float32)


def listed_at(path: str | Path, names: Sequence[str]) -> Sequence[str]:
    """Return which of these columns a place has for all its images: all of a table, those of a catalogue; of files none is known.

    Raises:
        InputError: a table lacks one.
    """
    if names and (Path(path) / MANIFEST).is_file():
        taken_from(Table.open(path), names)
        return names
    if names and is_catalogue(Path(path)):
        found = Catalogue.open(path).truth
        return [name for name in names if name in found]
    return ()


def completed(records: Iterable[Record], path: str | Path, names: Sequence[str]) -> Iterator[Record]:
    """Pass on the records of a place, those of rows that lack a value with NaN in its stead, where the place has the column.

    Raises:
        InputError: a table lacks a column.
    """
    blank = {name: np.nan for name in listed_at(path, names)}
    return (record.with_(truth=blank | record.truth) for record in records) if blank else iter(records)


def values_of(record: Record, names: Sequence[str]) -> list[float]:
    """Return what is known of an image, a number for each column.

    Raises:
        InputError: the place that it was read from does not have one.
    """
    if missing := next((name for name in names if name not in record.truth), None):
        raise InputError(f"{record.source or record.id} has no {missing!r}, which the model sees beside the image: {GIVE}")
    return [record.truth[name] for name in names]


def beside(
    lot: Cutouts, chosen: Sequence[int], names: Sequence[str], listed: Sequence[str], bad: list[tuple[str, str, str]]
) -> tuple[list[int], np.ndarray]:
    """Return which of the chosen images of a lot have what their columns need, and the values `(m, C)` of these.

    Args:
        lot: images as they were read, with their columns.
        chosen: places in the lot.
        names: of the columns.
        listed: those of them that the input has for all images: what is missing there is not known, and needs no refusal.
        bad: receives (id, source, reason) of the others.
    """
    kept, values = [], []
    for place, i in enumerate(chosen):
        known = {name: lot.columns[name][i] for name in names}
        known |= {name: np.nan for name in listed if known[name] is None}
        if missing := next((name for name, value in known.items() if not isinstance(value, int | float)), None):
            bad.append((lot.ids[i], lot.sources[i], f"has no number {missing!r}, which the model sees beside the image: {GIVE}"))
            continue
        kept.append(place)
        values.append(list(known.values()))
    return kept, np.array(values, np.float32).reshape(len(kept), len(names))


def scales(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return mean and deviation of each column `(n,)` over what is known of it."""
    wide = {name: values.astype(np.float64) for name, values in columns.items()}
    return {name: {"mean": float(np.nanmean(values)), "std": float(np.nanstd(values))} for name, values in wide.items()}


def refuse_leaks(columns: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]) -> None:
    """Make sure that columns can be learned from, and that none says the class by being known or by one value.

    Args:
        columns: name -> `(n,)`, NaN where unknown.
        labels: `(n,)` class indices.
        classes: their names.

    Raises:
        InputError: a column is known nowhere, has one value, or gives a class away.
    """
    present = np.unique(labels)
    for name, values in columns.items():
        known = np.isfinite(values)
        if not known.any():
            raise InputError(f"column {name!r} is known of none of {len(values)} training images: {REMEDY}")
        if values[known].min() == values[known].max():
            raise InputError(f"column {name!r} is {values[known][0]:g} in all training images and tells nothing: {REMEDY}")
        shares = {classes[k]: float(known[labels == k].mean()) for k in present}
        rare, often = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        if shares[rare] == 0 < shares[often] or shares[often] - shares[rare] > LEAK:
            known_of = f"known of {shares[rare]:.0%} of {rare!r} and {shares[often]:.0%} of {often!r} images"
            raise InputError(f"column {name!r} is {known_of}, so that to know it is to know the class: {REMEDY}")
        for k in present:
            own = values[(labels == k) & known]
            others = values[(labels != k) & known]
            if len(own) >= FEW and own.min() == own.max() and len(others) and (others == own[0]).mean() < 0.01:
                raise InputError(f"column {name!r} is {own[0]:g} in all {classes[k]!r} images and in no others: {REMEDY}")


def refuse_columns(columns: Sequence[str], what: str) -> None:
    """Make sure that a model sees images alone, for what can show it nothing else.

    Raises:
        InputError: it sees columns too.
    """
    if columns:
        seen = ", ".join(columns)
        raise InputError(f"{what} takes images alone, and this run sees {seen} beside them: take a run without columns")
