"""The keys of the Bologna lens-finding challenges: which of their numbered images are lenses, and what they were made from.

Challenge 1.0 (Metcalf et al. 2019, A&A 625, A119) comes as `Public/Band1/imageEUC_VIS-100002.fits` (space-based, one band of
101x101 pixels) or `Public/Band{1,2,3,4}/imageSDSS_{R,I,G,U}-100002.fits` (ground-based, in the style of KiDS, masked pixels 100)
with `classifications.csv`: ID, is_lens, Einstein_area, numb_pix_lensed_image, flux_lensed_image_in_sigma. Challenge 2.0 has the
bands VIS (200x200), J, Y, H (66x66) and a catalogue of some thirty columns, where an image is a lens if it has a source image
of over 20 pixels, magnified over 1.6 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darklens.data.catalogue import Catalogue

MASKED = {"SDSS": 100.0}
"""Survey of the file names -> value of masked pixels."""

LENS_IN_2_0 = {"n_source_im": 0.0, "mag_eff": 1.6, "n_pix_source": 20.0}
"""Challenge 2.0 calls a lens what exceeds all of these (challenge page, "Evaluation of submissions")."""


@dataclass(frozen=True, eq=False)
class Key:
    """What is known of the images of a challenge.

    Args:
        paths: the files of the key.
        rows: ID -> row of the catalogue.
        lens: whether each row is a lens.
        truth: column, in lower case -> value of each row.
    """

    paths: tuple[Path, ...]
    rows: dict[str, int]
    lens: np.ndarray
    truth: dict[str, np.ndarray]

    def entry(self, id_: str) -> tuple[str | None, dict[str, float]] | None:
        """Return class and truths of an image, or None if the key does not know it."""
        row = self.rows.get(id_)
        if row is None:
            return None
        truth = {name: float(values[row]) for name, values in self.truth.items() if np.isfinite(values[row])}
        return "lens" if self.lens[row] else "nonlens", truth


def read_key(paths: Sequence[Path]) -> Key | None:
    """Read the key of a challenge from the CSV files of a folder, or return None if none of them is one."""
    for path in paths:
        if not _looks_like_a_key(path):
            continue
        catalogue = Catalogue.open(path)
        names = {name.lower(): name for name in catalogue.table.column_names}
        if "is_lens" in names:
            lens = np.array([label == "lens" for label in catalogue.labels])
        else:
            lens = np.all([catalogue.numbers(names[name]) > least for name, least in LENS_IN_2_0.items()], axis=0)
        rows = {id_: row for row, id_ in enumerate(catalogue.ids) if id_ is not None}
        truth = {name.lower(): values for name, values in catalogue.truth.items()}
        return Key((path,), rows, lens, truth)
    return None


def _looks_like_a_key(path: Path) -> bool:
    """Read the first line that is no comment and look for the columns of a key."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            head = next((line for line in file if not line.startswith("#")), "")
    except OSError:
        return False  # the walk meets it again and reports it
    names = {name.strip().strip('"').lower() for name in head.split(",")}
    return "id" in names and ("is_lens" in names or names >= set(LENS_IN_2_0))
