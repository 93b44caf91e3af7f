"""Evidence maps of simulated lenses in memory, with the clumps that were put into them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from darklens.data import Table
from darklens.errors import InputError
from darklens.simulate import clumps_of, preset
from darklens.train.config import Preprocess
from darklens.train.stored import Stored

AT_ONCE = 512
"""Systems that are drawn again at once."""


@dataclass(frozen=True, eq=False)
class ClumpSet(Stored):
    """Lenses and their clumps.

    Args:
        images: `(n, 5, h, w)` float32 evidence maps.
        clumps: `(n, K, 3)` float32: x and y in arcsec, log10 of the mass in M_sun; NaN where there are fewer.
        ids: n names.
        recorded: the images that the maps are of, by content hash, so that no lens stands on two sides.
    """

    images: np.ndarray
    clumps: np.ndarray
    ids: list[str]
    recorded: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, h, w)` of the maps."""
        return tuple(self.images.shape[1:])

    @property
    def counts(self) -> dict[str, int]:
        """Images with and without a clump."""
        some = np.isfinite(self.clumps[..., 2]).any(1)
        return {"clump": int(some.sum()), "none": int((~some).sum())}

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return evidence maps."""
        return self.images[index]

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return maps and clumps at these positions, on a device."""
        images, clumps = (torch.from_numpy(np.ascontiguousarray(side[index])) for side in (self.images, self.clumps))
        return images.to(device, non_blocking=True), clumps.to(device, non_blocking=True)

    def take(self, index: np.ndarray) -> ClumpSet:
        """Return the images at these positions."""
        return replace(self, images=self.images[index], clumps=self.clumps[index], ids=[self.ids[i] for i in index])

    def seen_as(self, settings: Preprocess) -> ClumpSet:
        """Return the same set: all networks of a recipe see the same maps."""
        return self


def drawn_clumps(table: Table, least: float, most: int) -> np.ndarray:
    """Return the clumps of a simulated table, drawn again from its preset and seed: `(n, K, 3)`, NaN where there are fewer.

    Args:
        table: rows 0 to n - 1 of a preset.
        least: log10 M_sun from which on a clump counts.
        most: clumps of an image at most, the heaviest.

    Raises:
        InputError: the table does not say what it was drawn from, or was not drawn here.
    """
    name, seed = table.manifest.get("preset"), table.manifest.get("seed")
    if name is None or seed is None:
        raise InputError("these images do not say where their clumps are: localisation learns from simulated tables (data.preset)")
    found = np.full((len(table), most, 3), np.nan, np.float32)
    for first in range(0, len(table), AT_ONCE):
        scene = preset(name).draw(min(AT_ONCE, len(table) - first), seed, first)
        for k, clumps in enumerate(clumps_of(scene)):
            heavy = clumps[clumps[:, 2] >= least]
            heavy = heavy[np.argsort(-heavy[:, 2])][:most]
            found[first + k, : len(heavy)] = heavy
    return found
