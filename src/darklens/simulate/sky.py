"""Everything that shines in the cutout of a survey: galaxies, stars and lensed sources, with their magnitudes in every band.

A `Sky` belongs to a scene of B systems and lists lights one by one, whatever system they belong to: `row` says which. So a system
may have one light or thirty, and nothing is computed for those that are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from darklens.lensing import Ring, SersicEllipse, Spiral

Shape: TypeAlias = SersicEllipse | Spiral | Ring
"""Profiles that a sky may have."""


@dataclass(frozen=True)
class Lights:
    """N lights of one kind.

    Args:
        profile: their shapes, every parameter `(N,)` float64, each of total flux one.
        row: the system of each, `(N,)` int64, ascending.
        mag: AB magnitudes in the bands, `(N, bands)` float64; infinite where a light is not seen in a band.
        lensed: whether they stand behind the lens, with coordinates in the source plane.
    """

    profile: Shape
    row: Tensor
    mag: Tensor
    lensed: bool = False

    def _each(self, change: Callable[[Tensor], Tensor]) -> Shape:
        """Return the profile with every parameter changed."""
        parts = {f.name: change(getattr(self.profile, f.name)) for f in fields(self.profile)}
        return type(self.profile)(**parts)

    def take(self, index: Tensor, row: Tensor) -> Lights:
        """Return the lights at these positions, as those of other rows."""
        return replace(self, profile=self._each(lambda p: p[index]), row=row, mag=self.mag[index])

    def by_row(self) -> Iterator[tuple[int, Lights]]:
        """Yield each system that has such lights, and its own."""
        rows, counts = torch.unique_consecutive(self.row, return_counts=True)
        first = 0
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            mine = slice(first, first + count)
            yield row, replace(self, profile=self._each(itemgetter(mine)), row=self.row[mine], mag=self.mag[mine])
            first += count

    def to(self, dtype: torch.dtype) -> Lights:
        """Return the lights with their shapes in a precision; magnitudes stay as they are."""
        return replace(self, profile=self._each(lambda p: p.to(dtype)))


@dataclass(frozen=True)
class Stars:
    """N points of light, with the fields of `Lights`.

    Args:
        x: arcsec.
        y: arcsec.
        row: the system of each.
        mag: AB magnitudes in the bands.
    """

    x: Tensor
    y: Tensor
    row: Tensor
    mag: Tensor

    def take(self, index: Tensor, row: Tensor) -> Stars:
        """Return the stars at these positions, as those of other rows."""
        return Stars(self.x[index], self.y[index], row, self.mag[index])


@dataclass(frozen=True)
class Sky:
    """The lights of B systems."""

    lights: tuple[Lights, ...]
    stars: Stars

    def select(self, rows: np.ndarray) -> Sky:
        """Return the lights of these systems, numbered anew."""

        def places(row: Tensor) -> tuple[Tensor, Tensor]:
            found = [np.flatnonzero(row.numpy() == one) for one in rows]
            new = np.repeat(np.arange(len(rows)), [len(f) for f in found])
            return torch.from_numpy(np.concatenate([*found, np.zeros(0, int)]).astype(np.int64)), torch.from_numpy(new)

        return Sky(tuple(lights.take(*places(lights.row)) for lights in self.lights), self.stars.take(*places(self.stars.row)))


class SkyBuilder:
    """Collects lights for B systems; arguments are `(B,)`, or `(B, K)` for K of them each, with magnitudes `(B, [K,] bands)`."""

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self._groups: dict[tuple[type[Shape | Stars], bool], list[dict[str, np.ndarray]]] = {}

    def add(self, kind: type[Shape | Stars], where: np.ndarray, mag: np.ndarray, **parameters: np.ndarray) -> None:
        """Add lights where a mask `(B,)` or `(B, K)` says so.

        Args:
            kind: `SersicEllipse`, `Spiral`, `Ring`, or `Stars`.
            where: mask.
            mag: AB magnitudes.
            parameters: of the profile but `amp`; of stars x and y.
        """
        self._add(kind, False, where, mag, parameters)

    def add_lensed(self, kind: type[Shape], where: np.ndarray, mag: np.ndarray, **parameters: np.ndarray) -> None:
        """Add lights that stand behind the lens, see `add`."""
        self._add(kind, True, where, mag, parameters)

    def _add(
        self, kind: type[Shape | Stars], lensed: bool, where: np.ndarray, mag: np.ndarray, parameters: dict[str, np.ndarray]
    ) -> None:
        row = np.broadcast_to(np.arange(len(where)).reshape(-1, *(1,) * (where.ndim - 1)), where.shape)[where]
        columns = {k: np.broadcast_to(v, where.shape)[where].astype(np.float64) for k, v in parameters.items()}
        mag = np.broadcast_to(mag, (*where.shape, self._bands))[where]
        self._groups.setdefault((kind, lensed), []).append(columns | {"row": row, "mag": mag})

    def sky(self) -> Sky:
        """Return what was collected."""
        nothing = torch.zeros(0, dtype=torch.float64)
        lights, stars = [], Stars(nothing, nothing, torch.zeros(0, dtype=torch.int64), torch.zeros(0, self._bands))
        for (kind, lensed), parts in self._groups.items():
            whole = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
            order = np.argsort(whole["row"], kind="stable")
            columns = {name: torch.from_numpy(np.ascontiguousarray(v[order])) for name, v in whole.items()}
            row, mag = columns.pop("row"), columns.pop("mag")
            if issubclass(kind, Stars):
                stars = Stars(**columns, row=row, mag=mag)
            elif len(row):
                lights.append(Lights(_of_unit_flux(kind, columns), row, mag, lensed))
        return Sky(tuple(lights), stars)


def _of_unit_flux(kind: type[Shape], columns: dict[str, Tensor]) -> Shape:
    """Return profiles of total flux one."""
    one = kind(amp=torch.ones_like(columns["center_x"]), **columns)
    return replace(one, amp=1.0 / one.total_flux())
