"""Catalogues of positions, and which of them are the same place on the sky.

Positions are right ascension and declination in degrees (ICRS). Neighbours are found in a tree of unit vectors: poles and the
meridian of 0 h are no special places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from darklens.errors import InputError
from darklens.files import unreadable

COLUMNS = {
    "ra": re.compile(r"(ra|raj2000|ra_?icrs|ra_?deg|alpha|right_ascension)(\W.*)?", re.IGNORECASE),
    "dec": re.compile(r"(dec|de|dej2000|decj2000|de_?icrs|dec_?deg|delta|declination)(\W.*)?", re.IGNORECASE),
    "name": re.compile(r"(name|id|object|objname|source_id)", re.IGNORECASE),
}
"""What columns are called; a unit in brackets may follow, as in `RA [deg]`."""
FORMATS = {".csv": "ascii.csv", ".fits": "fits", ".fit": "fits", ".vot": "votable", ".xml": "votable", ".ecsv": "ascii.ecsv"}


@dataclass(frozen=True)
class Catalogue:
    """Known objects.

    Args:
        names: n strings.
        ra: `(n,)` deg.
        dec: `(n,)` deg.
        dropped: rows of the file without a position.
    """

    names: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def nearest(self, ra: np.ndarray, dec: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Return for each position the nearest object within a radius (-1: none) and its distance.

        Args:
            ra: `(m,)` deg; NaN where there is no position.
            dec: `(m,)` deg.
            radius: arcsec.

        Returns:
            Indices `(m,)` and separations `(m,)` in arcsec, NaN where there is none.
        """
        index, separation = np.full(len(ra), -1), np.full(len(ra), np.nan)
        placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        chord, found = self._tree.query(vectors(ra[placed], dec[placed]), distance_upper_bound=_chord(radius) * (1 + 1e-9))
        hit = np.isfinite(chord)
        index[placed[hit]] = found[hit]
        separation[placed[hit]] = np.degrees(2 * np.arcsin(chord[hit] / 2)) * 3600
        return index, separation

    def within(self, ra: np.ndarray, dec: np.ndarray, radius: float) -> list[list[int]]:
        """Return for each position all objects within a radius in arcsec; positions are finite."""
        return list(self._tree.query_ball_point(vectors(ra, dec), _chord(radius)))

    @property
    def _tree(self) -> cKDTree:
        if "tree" not in self.__dict__:
            object.__setattr__(self, "tree", cKDTree(vectors(self.ra, self.dec)))
        return self.__dict__["tree"]


@dataclass(frozen=True)
class Scored:
    """What a survey says of known objects.

    Args:
        ids: `(n,)` the image of largest probability within the radius of each, empty where there is none.
        probability: `(n,)` that probability, NaN where no image is near.
    """

    ids: np.ndarray
    probability: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Which objects have an image, `(n,)` bool."""
        return np.isfinite(self.probability)


def scored(known: Catalogue, batches: Iterable[tuple[np.ndarray, ...]], radius: float) -> Scored:
    """Find the images of known objects in a stream of scores.

    Args:
        known: the objects.
        batches: ids, ra, dec (deg) and probability, as `darklens.data.ranking.positions` gives them.
        radius: arcsec.
    """
    found = Scored(np.full(len(known), "", dtype=object), np.full(len(known), np.nan))
    for ids, ra, dec, probability in batches:
        near = np.flatnonzero((known.nearest(ra, dec, radius)[0] >= 0) & np.isfinite(probability))
        for row, objects in zip(near, known.within(ra[near], dec[near], radius) if len(near) else [], strict=True):
            for k in objects:
                if not probability[row] <= found.probability[k]:
                    found.ids[k], found.probability[k] = ids[row], probability[row]
    return found


def chance(known: Catalogue, ra: np.ndarray, dec: np.ndarray, radius: float) -> float:
    """Return how many of these positions would be near a known object by chance: the mean over eight shifts to places beside them.

    Args:
        known: the objects.
        ra: `(m,)` deg.
        dec: `(m,)` deg.
        radius: arcsec; the shifts are twenty times as long, at least a minute of arc.
    """
    shift = max(20 * radius, 60.0) / 3600
    counts = []
    for angle in np.arange(8) * np.pi / 4:
        there = np.clip(dec + shift * np.sin(angle), -90, 90)
        east = shift * np.cos(angle) / np.maximum(np.cos(np.radians(there)), 1e-3)
        counts.append((known.nearest((ra + east) % 360, there, radius)[0] >= 0).sum())
    return float(np.mean(counts))


def vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return unit vectors `(n, 3)` of positions in degrees."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)


def _chord(radius: float) -> float:
    return 2 * np.sin(np.radians(radius / 3600) / 2)


def read_catalogue(path: str | Path) -> Catalogue:
    """Read names and positions of a CSV, ECSV, FITS, VOTable or Parquet file, or of the only one in a folder.

    Columns are found by their names (`COLUMNS`); rows without a position are left out and counted.

    Raises:
        InputError: it cannot be read, or has no columns of positions in degrees, or no row with one.
    """
    path = _file(Path(path))
    columns = _columns(path)
    matching = {key: [name for name in columns if words.fullmatch(str(name).strip())] for key, words in COLUMNS.items()}
    found = {key: names[0] for key, names in matching.items() if names}
    for key in ("ra", "dec"):
        if key not in found:
            raise InputError(f"{path} has no column {key}, only {', '.join(columns)}: call the positions ra and dec, in degrees")
    ra, dec = (_degrees(columns[found[key]], f"{found[key]!r} of {path}") for key in ("ra", "dec"))
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    if not good.any():
        raise InputError(f"{path} has no row with a position: give ra and dec in degrees")
    given = columns[found["name"]] if "name" in found else range(len(ra))
    names = np.array([str(value) for value in given], dtype=object)
    return Catalogue(names[good], ra[good] % 360, dec[good], int((~good).sum()))


def _file(path: Path) -> Path:
    """Return the catalogue in a folder that holds one, and a file as it is."""
    if not path.is_dir():
        return path
    found = [inside for inside in sorted(path.iterdir()) if inside.suffix.lower() in (".parquet", *FORMATS)]
    if len(found) != 1:
        raise InputError(
            f"{path} is a folder with {len(found)} catalogues: give the file of one, {', '.join([*FORMATS, '.parquet'])}"
        )
    return found[0]


def _columns(path: Path) -> dict[str, Any]:
    """Return the columns of a catalogue by name."""
    if path.suffix.lower() not in (".parquet", *FORMATS):
        raise InputError(f"{path} ends in {path.suffix or 'nothing'!r}: catalogues are {', '.join([*FORMATS, '.parquet'])}")
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path).to_pydict()
        from astropy.table import Table

        table = Table.read(path, format=FORMATS[path.suffix.lower()])
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # astropy and pyarrow raise a dozen kinds for damaged files
        raise InputError(f"{path} is no catalogue that can be read ({str(error).splitlines()[0][:120]}): check the file") from error
    return {name: table[name].filled(np.nan) if _masked_numbers(table[name]) else table[name] for name in table.colnames}


def _masked_numbers(column: Any) -> bool:
    return hasattr(column, "mask") and column.dtype.kind == "f"


def _degrees(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray([np.nan if v is None or str(v).strip() in ("", "-", "--") else float(v) for v in values])
    except ValueError as error:
        raise InputError(f"column {what} is not in degrees ({error}): give decimal degrees, for example 150.1163") from error
