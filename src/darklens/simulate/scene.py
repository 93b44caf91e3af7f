"""A scene: what is in the sky, as data.

A scene is a batch of lens systems. Every parameter is a float64 array over the batch; nothing here knows about telescopes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from darklens.lensing import Light, Mass, PointMasses


def _take(item: object, rows: object) -> object:
    """Select batch rows of a profile (a frozen dataclass whose fields are tensors over the batch)."""
    return replace(item, **{f.name: getattr(item, f.name)[rows] for f in fields(item)})  # type: ignore[type-var]


def _to(item: object, dtype: torch.dtype, device: torch.device | str) -> object:
    return replace(item, **{f.name: getattr(item, f.name).to(device, dtype) for f in fields(item)})  # type: ignore[type-var]


@dataclass(frozen=True)
class Scene:
    """A batch of B lens systems.

    Args:
        macro: smooth mass profiles, every parameter of shape `(B,)`.
        substructure: point masses padded to the largest number, parameters `(B, N)`, `theta_E = 0` where there is none.
        source: light profiles in the source plane; `amp` is flux/arcsec^2 at `R_sersic`.
        labels: class name of each system.
        truth: column name -> `(B,)` float64, NaN where it does not apply; units in `darklens.units.UNITS`.
        seed: seed that the systems were drawn with.
        rows: row index of each system; `(seed, row)` names it for ever.
    """

    macro: tuple[Mass, ...]
    substructure: PointMasses
    source: tuple[Light, ...]
    labels: tuple[str, ...]
    truth: dict[str, np.ndarray]
    seed: int
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_perturbers(self) -> np.ndarray:
        """Number of point masses of each system, `(B,)` int."""
        return (self.substructure.theta_E > 0).sum(-1).cpu().numpy()

    def select(self, rows: np.ndarray) -> Scene:
        """Return the systems at these batch positions, with the padding cut to what they need."""
        index = torch.as_tensor(rows)
        width = int(self.n_perturbers[rows].max(initial=0))
        sub = _take(self.substructure, (index, slice(0, width)))
        return replace(
            self,
            macro=tuple(_take(m, index) for m in self.macro),
            substructure=sub,
            source=tuple(_take(s, index) for s in self.source),
            labels=tuple(self.labels[i] for i in rows),
            truth={k: v[rows] for k, v in self.truth.items()},
            rows=tuple(self.rows[i] for i in rows),
        )

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Scene:
        """Return the scene with its profiles on a device and in a precision."""
        return replace(
            self,
            macro=tuple(_to(m, dtype, device) for m in self.macro),
            substructure=_to(self.substructure, dtype, device),
            source=tuple(_to(s, dtype, device) for s in self.source),
        )

    def masses(self) -> tuple[Mass, ...]:
        """Return every deflector: the macro lens, and the substructure where there is any."""
        return (*self.macro, self.substructure) if self.substructure.theta_E.shape[-1] else self.macro
