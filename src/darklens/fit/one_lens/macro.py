"""The macro model of one lens: power law, shear, multipoles, as a vector of parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from darklens.errors import InputError
from darklens.fit.lens_model import BOUNDS
from darklens.lensing import EPL, SIE, Mass, Multipole, Shear

_PARTS: dict[str, tuple[str, ...]] = {
    "sie": ("theta_E", "e1", "e2", "center_x", "center_y"),
    "epl": ("theta_E", "gamma", "e1", "e2", "center_x", "center_y"),
    "shear": ("gamma1", "gamma2"),
    "m3": ("a3_cos", "a3_sin"),
    "m4": ("a4_cos", "a4_sin"),
}
MULTIPOLE_LIMIT = 0.1
"""Largest multipole strength `a_m / theta_E`-like, arcsec per arcsec of Einstein radius; galaxies have some 0.01."""


@dataclass(frozen=True)
class Macro:
    """Which masses the lens has.

    Args:
        name: parts joined by "+": sie or epl, then shear, m3, m4, or multipoles for both.

    Raises:
        InputError: an unknown part, or no galaxy.
    """

    name: str = "epl+shear"

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in _PARTS]
        if unknown or self.parts[0] not in ("sie", "epl") or len(set(self.parts)) < len(self.parts):
            raise InputError(f"lens model {self.name!r}: give sie or epl, then +shear, +multipoles (or +m3, +m4), each once")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, one by one."""
        return tuple(self.name.lower().replace("multipoles", "m3+m4").split("+"))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(name for part in self.parts for name in _PARTS[part])

    def masses(self, value: dict[str, Tensor]) -> tuple[Mass, ...]:
        """Return the deflectors for parameters by name; a multipole is a sum of a cosine and a sine, which has no bad angle."""
        shape = value["e1"], value["e2"], value["center_x"], value["center_y"]
        found: list[Mass] = [EPL(value["theta_E"], value["gamma"], *shape) if "gamma" in value else SIE(value["theta_E"], *shape)]
        if "shear" in self.parts:
            found.append(Shear(value["gamma1"], value["gamma2"]))
        for m in (3, 4):
            if f"m{m}" in self.parts:
                for kind, angle in (("cos", 0.0), ("sin", 0.5 * math.pi / m)):
                    found.append(Multipole(m, value[f"a{m}_{kind}"], angle, value["center_x"], value["center_y"]))
        return tuple(found)

    def bounds(self, theta_E: float, centre: tuple[float, float]) -> dict[str, tuple[float, float]]:
        """Return where each parameter may go, about a guess of the Einstein radius."""
        found = {name: BOUNDS.get(name, (-MULTIPOLE_LIMIT * theta_E, MULTIPOLE_LIMIT * theta_E)) for name in self.names}
        found["theta_E"] = 0.5 * theta_E, 2.0 * theta_E
        for name, c in zip(("center_x", "center_y"), centre, strict=True):
            found[name] = c - 0.3 * theta_E, c + 0.3 * theta_E
        return found
