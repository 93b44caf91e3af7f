"""One lens system at a time, as other programs have it: between a batch of systems and lists of profiles with plain numbers.

A `Scene` holds every parameter over the batch, and many masses in one profile, padded. Other programs hold one system: a list
of profiles, each with its numbers. `systems_of` takes a scene apart; `scene_of` puts systems of the same profiles together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing import (
    LIGHTS,
    MASSES,
    ConvergenceSheet,
    CoredTNFWHalos,
    Cosmology,
    Light,
    Mass,
    PointMasses,
    PointSource,
    TNFWHalos,
)
from darklens.simulate.scene import Scene, strength

MANY: dict[type[Mass], str] = {PointMasses: "PointMass", TNFWHalos: "TNFW", CoredTNFWHalos: "CoredTNFW"}
"""Profiles of many masses, and what each of their masses is alone."""

Value = float | int | bool | str | np.ndarray


def known_profiles() -> dict[str, type]:
    """Return every profile of one system by name; that of one mass among many may be a name alone, with their parameters."""
    more: tuple[type, ...] = (ConvergenceSheet, PointSource, *MANY)
    return {**{single: many for many, single in MANY.items()}, **{c.__name__: c for c in more}, **MASSES, **LIGHTS}


@dataclass(frozen=True)
class Part:
    """A profile of one system: its name here, and its parameters as numbers (an array where it has a grid)."""

    profile: str
    values: Mapping[str, Value]


@dataclass
class System:
    """One lens system.

    Args:
        macro: profiles of the main lens.
        substructure: its further masses, one by one.
        planes: redshift -> masses on the line of sight; their deflections are reduced for the source.
        source: light in the source plane.
        lens_light: light of the lens galaxy.
        point_source: unresolved sources.
        z_lens: redshift of the main lens.
        z_source: redshift of the source.
        cosmology: distances between planes.
        label: class name.
        truth: name -> number, NaN where it does not apply.
        seed: what it was drawn with.
        row: its number.
    """

    macro: list[Part] = field(default_factory=list)
    substructure: list[Part] = field(default_factory=list)
    planes: dict[float, list[Part]] = field(default_factory=dict)
    source: list[Part] = field(default_factory=list)
    lens_light: list[Part] = field(default_factory=list)
    point_source: list[Part] = field(default_factory=list)
    z_lens: float = 0.5
    z_source: float = 1.0
    cosmology: Cosmology = field(default_factory=Cosmology)
    label: str = ""
    truth: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    row: int = 0

    def add_masses(self, parts: Iterable[Part]) -> None:
        """Sort masses of the main plane: the kinds that come in large numbers are substructure, unless there is nothing else."""
        parts = list(parts)
        small = [part for part in parts if part.profile in MANY.values()]
        large = [part for part in parts if part.profile not in MANY.values()]
        alone = not large and all(part.profile in MASSES for part in small)
        self.macro, self.substructure = (small, []) if alone else (large, small)


def systems_of(scene: Scene) -> Iterator[System]:
    """Iterate over the systems of a scene, with padding left out."""
    scene = scene.to(torch.float64)
    for i in range(len(scene)):
        planes: dict[float, list[Part]] = {}
        for z, masses in scene.planes:
            planes.setdefault(float(z), []).extend(_parts(masses, i))
        yield System(
            macro=_parts(scene.macro, i),
            substructure=_parts(scene.substructure, i),
            planes=planes,
            source=_parts(scene.source, i),
            lens_light=_parts(scene.lens_light, i),
            point_source=_parts(scene.point_source, i),
            z_lens=scene.z_lens,
            z_source=scene.z_source,
            cosmology=scene.cosmology,
            label=scene.labels[i],
            truth={name: float(column[i]) for name, column in scene.truth.items()},
            seed=scene.seed,
            row=scene.rows[i],
        )


def scene_of(systems: Sequence[System]) -> Scene:
    """Put systems together.

    Raises:
        InputError: there is none, or they differ in their profiles, redshifts, cosmology or seed.
    """
    systems = list(systems)
    if not systems:
        raise InputError("there is no lens system to make a scene of: give at least one")
    for name in ("z_lens", "z_source", "cosmology", "seed"):
        values = list(dict.fromkeys(getattr(s, name) for s in systems))
        if len(values) > 1:
            raise InputError(f"the systems differ in {name}, {values[0]} and {values[1]}: convert those of one {name} at a time")
    redshifts = dict.fromkeys(z for s in systems for z in s.planes)
    names = dict.fromkeys(name for s in systems for name in s.truth)
    return Scene(
        macro=_profiles([s.macro for s in systems]),
        substructure=_profiles([s.substructure for s in systems], many=True),
        source=_profiles([s.source for s in systems]),
        labels=tuple(s.label for s in systems),
        truth={name: np.array([s.truth.get(name, np.nan) for s in systems]) for name in names},
        seed=systems[0].seed,
        rows=tuple(s.row for s in systems),
        lens_light=_profiles([s.lens_light for s in systems]),
        planes=tuple((z, _profiles([s.planes.get(z, []) for s in systems], many=True)) for z in redshifts),
        point_source=_profiles([s.point_source for s in systems]),
        z_lens=systems[0].z_lens,
        z_source=systems[0].z_source,
        cosmology=systems[0].cosmology,
    )


def _parts(profiles: Sequence[Mass | Light | PointSource], i: int) -> list[Part]:
    """Return the profiles of one system of the batch; one of many masses as so many profiles."""
    return [part for profile in profiles for part in _of_system(profile, i)]


def _of_system(profile: Mass | Light | PointSource, i: int) -> list[Part]:
    values = {f.name: getattr(profile, f.name) for f in fields(profile)}
    single = MANY.get(type(profile)) if isinstance(profile, Mass) else None
    if single is None:
        return [
            Part(type(profile).__name__, {k: _plain(v[i] if isinstance(v, Tensor) and v.ndim else v) for k, v in values.items()})
        ]
    rows = {k: v[i].tolist() for k, v in values.items()}
    return [Part(single, {k: row[j] for k, row in rows.items()}) for j in (strength(profile)[i] != 0).nonzero()[:, 0].tolist()]


def _plain(value: object) -> Value:
    if not isinstance(value, Tensor):
        return value  # type: ignore[return-value]
    return value.detach().cpu().numpy() if value.ndim else float(value)


def _profiles(systems: list[list[Part]], *, many: bool = False) -> tuple:
    """Stack the parts of every system: those of one kind in the order in which they stand, or all of a kind in one profile."""
    found = []
    for kind in dict.fromkeys(part.profile for parts in systems for part in parts):
        alike = [[part.values for part in parts if part.profile == kind] for parts in systems]
        if many and kind in MANY.values():
            found.append(_padded(kind, alike))
            continue
        if len(set(map(len, alike))) > 1:
            odd = next(i for i, parts in enumerate(alike) if len(parts) != len(alike[0]))
            raise InputError(
                f"system {odd} has {len(alike[odd])} of the profile {kind}, system 0 has {len(alike[0])}: "
                "convert systems of the same profiles together"
            )
        found += [known_profiles()[kind](**_stacked(kind, rows)) for rows in zip(*alike, strict=True)]
    return tuple(found)


def _stacked(kind: str, rows: Sequence[Mapping[str, Value]]) -> dict[str, object]:
    stacked: dict[str, object] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        column = [row[name] for row in rows]
        if all(isinstance(v, float | np.ndarray) for v in column):
            stacked[name] = torch.as_tensor(np.stack([np.asarray(v, np.float64) for v in column]))
        elif len(set(column)) == 1:  # an order, a method: one for all
            stacked[name] = column[0]
        else:
            raise InputError(
                f"the systems differ in {name} of {kind}, {sorted(set(column))}: convert those of one {name} at a time"
            )
    return stacked


def _padded(kind: str, systems: list[list[Mapping[str, Value]]]) -> Mass:
    """Return one profile of many masses, `(B, N)`; a copy of a system's last mass without strength fills its row."""
    many = next(profile for profile, single in MANY.items() if single == kind)
    names = [f.name for f in fields(many)]
    width = max(map(len, systems))
    filling = {**next(parts[0] for parts in systems if parts), names[0]: 0.0}
    rows = [[*parts, *[filling] * (width - len(parts))] for parts in systems]
    return many(**{name: torch.tensor([[float(p[name]) for p in row] for row in rows], dtype=torch.float64) for name in names})
