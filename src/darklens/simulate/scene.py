"""A scene: what is in the sky, as data.

A scene is a batch of lens systems. Every parameter is a float64 tensor over the batch; nothing here knows about telescopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from darklens.lensing import Cosmology, Light, Mass, PointSource, trace, trace_planes
from darklens.simulate.sky import Sky

Profile = TypeVar("Profile", bound=Mass | Light | PointSource)
Plane = tuple[float, tuple[Mass, ...]]
"""A redshift, and the masses there."""


class Change(Protocol):
    """What makes another profile of the same kind."""

    def __call__(self, profile: Profile, /) -> Profile:
        """Change one."""


def strength(profile: Mass | Light | PointSource) -> Tensor:
    """Return the first parameter of a profile, the one that is zero where there is nothing (`theta_E`, `alpha_Rs`)."""
    return torch.as_tensor(getattr(profile, fields(profile)[0].name))


def _each(profile: Profile, change: Callable[[Tensor], Tensor]) -> Profile:
    """Change every parameter that is a tensor; numbers serve the whole batch and stay as they are."""
    tensors = {f.name: getattr(profile, f.name) for f in fields(profile)}
    return replace(profile, **{k: change(v) for k, v in tensors.items() if isinstance(v, Tensor)})


def _take(profile: Profile, index: Tensor) -> Profile:
    """Select batch rows of a profile; of many masses in one also cut the padding to what these rows need."""
    taken = _each(profile, lambda p: p[index] if p.ndim else p)
    there = strength(taken)
    if there.ndim != 2:
        return taken
    columns = (there != 0).any(0).nonzero()
    width = int(columns.max()) + 1 if len(columns) else 0
    return _each(taken, lambda p: p[:, :width])


def _not_empty(masses: tuple[Mass, ...]) -> tuple[Mass, ...]:
    return tuple(m for m in masses if strength(m).numel())


@dataclass(frozen=True)
class Scene:
    """A batch of B lens systems.

    Args:
        macro: smooth mass profiles, every parameter of shape `(B,)`.
        substructure: profiles of many masses (`PointMasses`, `TNFWHalos`, ...), their parameters `(B, N)` padded to the largest
            number; a first parameter of zero is padding, and never changes an image.
        source: light profiles in the source plane; `amp` is flux/arcsec^2 at `R_sersic`.
        labels: class name of each system.
        truth: column name -> `(B,)` float64, NaN where it does not apply; units in `darklens.units.UNITS`.
        seed: seed that the systems were drawn with.
        rows: row index of each system; `(seed, row)` names it for ever.
        lens_light: light profiles of the lens galaxy, in the image plane.
        planes: further lens planes on the line of sight, with their redshifts; their deflections are reduced for the source.
        point_source: unresolved sources in the source plane.
        z_lens: redshift of the main lens.
        z_source: redshift of the source.
        cosmology: distances between planes.
        macro_alone: the macro lens that has all the mass, where that of substructure was taken out of `macro`.
        sky: every light in the cutout of a survey with its magnitudes in the bands, source and lens light among them; None where
            these two are all there is.
    """

    macro: tuple[Mass, ...]
    substructure: tuple[Mass, ...]
    source: tuple[Light, ...]
    labels: tuple[str, ...]
    truth: dict[str, np.ndarray]
    seed: int
    rows: tuple[int, ...]
    lens_light: tuple[Light, ...] = ()
    planes: tuple[Plane, ...] = ()
    point_source: tuple[PointSource, ...] = ()
    z_lens: float = 0.5
    z_source: float = 1.0
    cosmology: Cosmology = field(default_factory=Cosmology)
    macro_alone: tuple[Mass, ...] = ()
    sky: Sky | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> np.ndarray:
        """Number of masses of each system in each profile of many masses, those on the line of sight included, `(B, K)` int."""
        many = [*self.substructure, *(m for _, masses in self.planes for m in masses)]
        counts = [(s != 0).sum(-1).cpu().numpy() for s in map(strength, many) if s.ndim == 2]
        return np.stack([np.zeros(len(self), np.int64), *counts], 1)

    @property
    def n_perturbers(self) -> np.ndarray:
        """Number of masses of each system beyond the macro lens, those on the line of sight included, `(B,)` int."""
        return self.counts.sum(1)

    def _mapped(self, change: Change) -> Scene:
        """Apply one change to every profile."""

        def each(profiles: tuple[Profile, ...]) -> tuple[Profile, ...]:
            return tuple(change(profile) for profile in profiles)

        return replace(
            self,
            macro=each(self.macro),
            substructure=each(self.substructure),
            source=each(self.source),
            lens_light=each(self.lens_light),
            planes=tuple((z, each(masses)) for z, masses in self.planes),
            point_source=each(self.point_source),
            macro_alone=each(self.macro_alone),
        )

    def select(self, rows: np.ndarray) -> Scene:
        """Return the systems at these batch positions, with the padding cut to what they need."""
        index = torch.as_tensor(rows)
        return replace(
            self._mapped(lambda profile: _take(profile, index)),
            labels=tuple(self.labels[i] for i in rows),
            truth={k: v[rows] for k, v in self.truth.items()},
            rows=tuple(self.rows[i] for i in rows),
            sky=None if self.sky is None else self.sky.select(np.asarray(rows)),
        )

    def system(self, i: int) -> Scene:
        """Return the system at one batch position with its profiles not batched: what solves for images or curves wants."""
        one = self.select(np.array([i]))
        return one._mapped(lambda profile: _each(profile, lambda p: p[0] if p.ndim else p))

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Scene:
        """Return the scene with its profiles on a device and in a precision."""
        return self._mapped(lambda profile: _each(profile, lambda p: p.to(device, dtype)))

    def masses(self) -> tuple[Mass, ...]:
        """Return every deflector in the main plane: the macro lens, and the substructure where there is any."""
        return (*self.macro, *_not_empty(self.substructure))

    def trace(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Follow light back to the source plane: `(beta_x, beta_y)` in arcsec, through every plane on its way."""
        planes = [(z, masses) for z, masses in ((z, _not_empty(masses)) for z, masses in self.planes) if masses]
        if not planes:
            return trace(self.masses(), x, y)
        planes = sorted([*planes, (self.z_lens, self.masses())], key=lambda plane: plane[0])
        return trace_planes(planes, self.z_source, self.cosmology, x, y)

    def smooth(self) -> Scene:
        """Return the same systems without substructure and masses on the line of sight, their mass back in the macro lens."""
        return replace(self, macro=self.macro_alone or self.macro, substructure=(), planes=())

    def to_lenstronomy(self, *, vortex_points: int | None = None) -> list[dict[str, Any]]:
        """Return lenstronomy's keyword arguments for every system; see `darklens.simulate.interop.to_lenstronomy`."""
        from darklens.simulate.interop import to_lenstronomy

        return to_lenstronomy(self, vortex_points=vortex_points)

    @classmethod
    def from_lenstronomy(cls, systems: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Scene:
        """Make a scene of lenstronomy's keyword arguments; see `darklens.simulate.interop.from_lenstronomy`."""
        from darklens.simulate.interop import from_lenstronomy

        return from_lenstronomy(systems)

    def to_coolest(self, path: str | Path, row: int = 0, **setting: Any) -> Path:
        """Write one system as a COOLEST template; see `darklens.simulate.interop.write_coolest`."""
        from darklens.simulate.interop import write_coolest

        return write_coolest(self, path, row, **setting)

    @classmethod
    def from_coolest(cls, path: str | Path) -> Scene:
        """Read the lens of a COOLEST template; see `darklens.simulate.interop.read_coolest`."""
        from darklens.simulate.interop import read_coolest

        return read_coolest(path)
