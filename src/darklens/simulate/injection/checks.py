"""What an injection left as it was, and what it added: the table on disk against the cutouts, row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from darklens.data import Table
from darklens.simulate.injection.injection import REASONS, Injection

ROWS = 64
ELECTRONS_OF_ARCS, ELECTRONS_OF_SKY = 5.0, 1e-7
"""Expected electrons from which a pixel counts as part of an arc, and up to which it counts as free of arcs."""


def check_injection(table: Table, chosen: Injection, rows: int = ROWS) -> dict[str, Any]:
    """Compare stored images with the cutouts and with the arcs that were to be painted.

    Args:
        table: what was written.
        chosen: how.
        rows: how many rows to look at, spread evenly.

    Returns:
        `flux_ratio`: light added over light of the arcs, all rows together, and `flux_error`, its Poisson error;
        `free_pixels` and `changed_pixels`: pixels without arcs, and how many of them are not what they were to the last bit;
        `noise_variance`: variance of what was added about the arcs, in units of arcs/gain, `noise_pixels` of them;
        `untouched_rows` and `changed_rows`: rows without arcs, and how many are not the cutout;
        `rejected`: draws that were refused by reason, over the whole table, and `kept`, the lenses that were not.
    """
    tally = _Tally()
    for row in np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).astype(int)):
        tally.add(table.images([row])[0], chosen, int(row))
    lens = table.labels == "lens"
    rejected = {text: int(np.nansum(table.column(f"rejected_{reason}")[lens])) for reason, text in REASONS.items()}
    return tally.as_dict() | {"kept": int(lens.sum()), "rejected": rejected}


class _Tally:
    """Sums over rows."""

    def __init__(self) -> None:
        self.added = self.painted = self.variance = self.chi2 = 0.0
        self.free = self.changed = self.noisy = self.untouched = self.altered = 0

    def add(self, stored: np.ndarray, chosen: Injection, row: int) -> None:
        made = chosen.row(row)
        if made.label != "lens":
            self.untouched += 1
            self.altered += int(not np.array_equal(stored, made.original))
            return
        gains = np.array(chosen.camera.gains)[:, None, None]
        difference = stored.astype(np.float64) - made.original
        electrons = made.arcs * gains if np.isfinite(gains).all() else np.where(made.arcs > 0, math.inf, 0.0)
        free = electrons <= ELECTRONS_OF_SKY
        self.free += int(free.sum())
        self.changed += int((stored[free] != made.original[free]).sum())
        self.added, self.painted = self.added + difference.sum(), self.painted + made.arcs.sum()
        if np.isfinite(gains).all():
            arcs = electrons > ELECTRONS_OF_ARCS
            expected = (made.arcs / gains)[arcs]
            self.variance += float((made.arcs / gains).sum())
            self.chi2 += float(((difference - made.arcs)[arcs] ** 2 / expected).sum())
            self.noisy += int(arcs.sum())

    def as_dict(self) -> dict[str, Any]:
        return {
            "flux_ratio": self.added / self.painted if self.painted else None,
            "flux_error": math.sqrt(self.variance) / self.painted if self.painted else None,
            "free_pixels": self.free,
            "changed_pixels": self.changed,
            "noise_variance": self.chi2 / self.noisy if self.noisy else None,
            "noise_pixels": self.noisy,
            "untouched_rows": self.untouched,
            "changed_rows": self.altered,
        }
