"""Which images are candidates, where they are, and which of them are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import Record
from darklens.data.crossmatch import Catalogue, Scored, chance, read_catalogue, scored
from darklens.data.finding import find_images
from darklens.data.ranking import Ranking, positions, rank
from darklens.errors import InputError
from darklens.evaluate.proportion import proportion

RADIUS = 5.0
"""Arcsec within which a position is that of a known object."""
DRAWN = 1000
"""Candidates whose images are read, and drawn, at most; the tables hold all."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Match:
    """What a catalogue of known objects says of candidates.

    Args:
        catalogue: the known objects.
        survey: their images among all scores.
        index: `(n,)` the known object of each candidate, -1 where there is none.
        separation: `(n,)` arcsec.
        by_chance: how many candidates would be near a known object by chance.
        radius: arcsec.
    """

    catalogue: Catalogue
    survey: Scored
    index: np.ndarray
    separation: np.ndarray
    by_chance: float
    radius: float

    def names(self) -> list[str]:
        """Return the known object of each candidate, empty where there is none."""
        return [str(self.catalogue.names[i]) if i >= 0 else "" for i in self.index]

    def rows(self, ranks: dict[str, int]) -> list[dict[str, Any]]:
        """Return the known objects that have an image, most probable first: name, ra, dec, id, probability, rank (or None)."""
        order = np.argsort(-np.where(self.survey.seen, self.survey.probability, -1), kind="stable")[: int(self.survey.seen.sum())]
        return [
            {
                "name": str(self.catalogue.names[i]),
                "ra": float(self.catalogue.ra[i]),
                "dec": float(self.catalogue.dec[i]),
                "id": str(self.survey.ids[i]),
                "probability": float(self.survey.probability[i]),
                "rank": ranks.get(self.survey.ids[i]),
            }
            for i in order
        ]

    def summary(self, listed: set[str]) -> dict[str, Any]:
        """Return how many known objects have an image, and how many of these images are listed."""
        seen = int(self.survey.seen.sum())
        found = sum(name in listed for name in self.survey.ids[self.survey.seen])
        return {
            "catalogue": len(self.catalogue),
            "without_position": self.catalogue.dropped,
            "radius_arcsec": self.radius,
            "expected": seen,
            "recovered": found,
            "completeness": proportion(found, seen) if seen else None,
            "candidates_known": int((self.index >= 0).sum()),
            "candidates_known_by_chance": self.by_chance,
        }


@dataclass(frozen=True)
class Selection:
    """The candidates.

    Args:
        ranking: their rows, and those of the whole table in numbers.
        columns: name -> values, `rank` first; `ra` and `dec` only where known; `known` only where asked for.
        records: id -> image, of the first `DRAWN`.
        missing: id -> why its image was not found.
        match: with known objects, where asked for.
    """

    ranking: Ranking
    columns: dict[str, list]
    records: dict[str, Record]
    missing: dict[str, str]
    match: Match | None

    @property
    def placed(self) -> bool:
        """Whether positions on the sky are known."""
        return {"ra", "dec"} <= set(self.columns)

    def column(self, name: str, otherwise: Any) -> list:
        """Return a column, or one and the same value for all where there is none."""
        return self.columns.get(name, [otherwise] * len(self.columns["id"]))

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the list, as `candidates.json` holds them."""
        values = self.columns[self.ranking.column]
        return {
            "class": self.ranking.column,
            "classes": list(self.ranking.classes),
            "rows": self.ranking.rows,
            "without_probability": self.ranking.without,
            "candidates": len(values),
            "probability": {"first": values[0], "last": values[-1], "rows_at_last": self.ranking.at_threshold},
            "expected_true": float(np.sum(values)),
            "images_missing": len(self.missing),
            "first_missing": next((f"{name}: {why}" for name, why in self.missing.items()), None),
            "unusual": sum(map(bool, self.columns["unusual"])) if "unusual" in self.columns else None,
            "known": None if self.match is None else self.match.summary(set(self.columns["id"])),
        }


def select(
    scores: str | Path,
    top: int,
    *,
    label: str = "lens",
    min_probability: float = 0.0,
    images: str | Path | None = None,
    known: str | Path | None = None,
    radius: float = RADIUS,
    progress: Progress = lambda phase, done, total: None,
) -> Selection:
    """Rank scores, find the images of the best, and match them with known objects; arguments as in `darklens.candidates`.

    Raises:
        InputError: scores or a catalogue that cannot be used, or positions that are asked for and missing.
    """
    if not radius > 0:
        raise InputError(f"--radius {radius:g} is no distance on the sky: give arcsec above 0")
    catalogue = None if known is None else read_catalogue(known)
    ranking = rank(scores, top, column=label, least=min_probability, progress=progress)
    columns = ranking.table.to_pydict()
    columns = {"rank": list(range(1, len(columns["id"]) + 1)), **columns}
    if all(value is None or value != value for key in ("ra", "dec") for value in columns.get(key, [])):
        columns = {key: values for key, values in columns.items() if key not in ("ra", "dec")}  # columns of nothing
    from_scores = {"ra", "dec"} <= set(columns)
    missing: dict[str, str] = {}
    sources = columns.get("source", [None] * len(columns["id"]))
    records = find_images(columns["id"][:DRAWN], sources[:DRAWN], images, on_missing=missing.__setitem__)
    for key in () if from_scores else ("ra", "dec"):
        values = [_number(records[name], key) if name in records else np.nan for name in columns["id"]]
        if np.isfinite(values).any():
            columns[key] = values
    match = None
    if catalogue is not None:
        survey = positions(scores, label) if from_scores else None
        match = _match(catalogue, columns, label, survey, scores, radius)
        columns |= {"known": match.names(), "known_separation": match.separation.tolist()}
    return Selection(ranking, columns, records, missing, match)


def _number(record: Record, key: str) -> float:
    """Return what a record knows of a position, in its truths or its header."""
    value = record.truth.get(key, record.metadata.get(key))
    return float(value) if isinstance(value, int | float) else float("nan")


def _match(
    catalogue: Catalogue,
    columns: dict[str, list],
    label: str,
    survey: Iterable[tuple[np.ndarray, ...]] | None,
    scores: str | Path,
    radius: float,
) -> Match:
    """Match the candidates, and the whole survey where the scores have positions, with known objects."""
    if not {"ra", "dec"} <= set(columns):
        raise InputError(
            f"neither {scores} nor the images have ra and dec, which --known needs: score with darklens predict --keep ra,dec, "
            "give --images with both, or leave --known out"
        )
    ra, dec = (np.array([np.nan if v is None else v for v in columns[key]], dtype=float) for key in ("ra", "dec"))
    if survey is None:  # only the images say where they are: of what is not listed nothing is known
        survey = [(np.array(columns["id"], dtype=object), ra, dec, np.array(columns[label], dtype=float))]
    index, separation = catalogue.nearest(ra, dec, radius)
    return Match(catalogue, scored(catalogue, survey, radius), index, separation, chance(catalogue, ra, dec, radius), radius)
