"""What every population is: systems drawn one by one as plain numbers, stacked into a scene."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import torch

from darklens.lensing import SIE, ConvergenceSheet, Mass, PointMasses, SersicEllipse, Shear
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Plane, Scene

SERSIC = ("amp", "R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")
LENGTH_OF_PADDING = {"Rs": 1.0, "r_trunc": 2.0, "r_core": 0.5}
Perturbers = dict[type[Mass], dict[str, np.ndarray]]
"""Profile of many masses -> its parameters, each of shape `(N,)`."""


@dataclass(frozen=True)
class System:
    """One lens system as plain numbers.

    Args:
        lens: parameters of the macro lens, all mass in it.
        shear: gamma1 and gamma2.
        source: parameters of the source's `SersicEllipse`.
        perturbers: substructure in the plane of the lens.
        truth: the row's truth columns.
        lens_light: parameters of the lens galaxy's `SersicEllipse`; None where it is dark.
        planes: substructure of each plane on the line of sight, in the order of `Population.plane_redshifts`.
        sheets: convergence of the uniform sheet in each of these planes.
        macro: parameters of the macro lens with the mass of the substructure taken out; None where nothing is.
    """

    lens: dict[str, float]
    shear: tuple[float, float]
    source: dict[str, float]
    perturbers: Perturbers = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)
    lens_light: dict[str, float] | None = None
    planes: tuple[Perturbers, ...] = ()
    sheets: tuple[float, ...] = ()
    macro: dict[str, float] | None = None


class Population(ABC):
    """A prior over scenes with class labels."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every population is a dataclass
    classes: tuple[str, ...]
    z_lens: float = 0.5
    z_source: float = 1.0
    lens_profile: type[Mass] = SIE
    perturber_profiles: tuple[type[Mass], ...] = (PointMasses,)

    @property
    def plane_redshifts(self) -> tuple[float, ...]:
        """Redshifts of the planes on the line of sight, nearest first."""
        return ()

    @abstractmethod
    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system of a class."""

    @abstractmethod
    def truth_columns(self) -> tuple[str, ...]:
        """Return the names of the truth columns, the same for every row."""

    def options(self) -> dict[str, float]:
        """Return what a user chose of this population, for manifests."""
        return {}

    def draw(self, n: int, seed: int, start: int = 0, *, labels: tuple[str, ...] | None = None) -> Scene:
        """Draw the systems of rows `start` to `start + n - 1` of the table with this seed.

        Args:
            n: how many.
            seed: of the table.
            start: first row.
            labels: n classes in place of the rows' own, which go round; the smooth lens of a row is the same in every class.

        Returns:
            A scene of n systems in float64.
        """
        rows = range(start, start + n)
        labels = labels or tuple(self.classes[row % len(self.classes)] for row in rows)
        systems = [self.draw_system(label, row_generator(seed, row, "scene")) for label, row in zip(labels, rows, strict=True)]
        return self._stack(systems, labels, seed, tuple(rows))

    def _stack(self, systems: list[System], labels: tuple[str, ...], seed: int, rows: tuple[int, ...]) -> Scene:
        truth = {k: np.array([s.truth.get(k, math.nan) for s in systems]) for k in self.truth_columns()}
        assert {k for s in systems for k in s.truth} <= set(truth), "a truth column that truth_columns() does not list"
        lens = self.lens_profile(**_columns([s.macro or s.lens for s in systems]))
        alone = self.lens_profile(**_columns([s.lens for s in systems])) if any(s.macro for s in systems) else lens
        shear = Shear(**_columns([dict(zip(("gamma1", "gamma2"), s.shear, strict=True)) for s in systems]))
        lights = [s.lens_light for s in systems if s.lens_light is not None]
        return Scene(
            macro=(lens, shear),
            substructure=tuple(stacked(p, [s.perturbers.get(p, {}) for s in systems]) for p in self.perturber_profiles),
            source=(SersicEllipse(**_columns([s.source for s in systems])),),
            labels=labels,
            truth=truth,
            seed=seed,
            rows=rows,
            lens_light=(SersicEllipse(**_columns(lights)),) if lights else (),
            planes=tuple(self._plane(i, z, systems) for i, z in enumerate(self.plane_redshifts)),
            z_lens=self.z_lens,
            z_source=self.z_source,
            macro_alone=(alone, shear),
        )

    def _plane(self, i: int, z: float, systems: list[System]) -> Plane:
        """Stack what stands in one plane on the line of sight."""
        many = [stacked(p, [s.planes[i].get(p, {}) for s in systems]) for p in self.perturber_profiles]
        return z, (ConvergenceSheet(**_columns([{"kappa": s.sheets[i]} for s in systems])), *many)


def _columns(rows: list[dict[str, float]]) -> dict[str, torch.Tensor]:
    return {k: torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in rows[0]}


def stacked(profile: type[Mass], systems: list[dict[str, np.ndarray]]) -> Mass:
    """Stack the many masses of systems, padded: no strength, in the middle, with lengths that divide well."""
    names = [f.name for f in fields(profile)]
    counts = [len(s[names[0]]) if s else 0 for s in systems]
    columns = {}
    for name in names:
        column = np.full((len(systems), max(counts)), LENGTH_OF_PADDING.get(name, 0.0))
        for i, (system, count) in enumerate(zip(systems, counts, strict=True)):
            if count:
                column[i, :count] = system[name]
        columns[name] = torch.from_numpy(column)
    return profile(**columns)


def points(theta_E: np.ndarray, x: np.ndarray, y: np.ndarray) -> Perturbers:
    """Return point masses as perturbers, all arrays `(N,)` in arcsec."""
    return {PointMasses: {"theta_E": theta_E, "center_x": x, "center_y": y}}


def truth_of(lens: dict[str, float], shear: tuple[float, float], source: dict[str, float]) -> dict[str, float]:
    """Return the truth columns of the macro lens, its shear and the source."""
    own = {k: v for k, v in lens.items() if k not in ("center_x", "center_y")}
    renamed = {
        "amp": "source_amp",
        "center_x": "source_x",
        "center_y": "source_y",
        "e1": "source_e1",
        "e2": "source_e2",
    }
    return own | {"gamma1": shear[0], "gamma2": shear[1]} | {renamed.get(k, k): v for k, v in source.items()}
