"""Light with linear amplitudes: bases of the lens galaxy, and a smooth source.

A basis has shape parameters, which are fitted, and columns, whose amplitudes follow from them by linear algebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darklens.errors import unknown
from darklens.lensing import GaussianEllipse, SersicEllipse

Range = tuple[float, float]
GAUSSIANS = 16
"""Widths of a multi-Gaussian expansion, in equal steps of the logarithm (Cappellari 2002, MNRAS 333, 400)."""
FAINTEST = 1e-30
"""Far wings below this are nothing: numbers near the smallest that a processor knows make it a hundred times slower."""
LIGHTS_OF_LENS = ("mge", "sersic", "sersics", "none")


@dataclass(frozen=True)
class Shape:
    """A component: a prefix for the names of its parameters, and whether its centre is shared with the first one.

    Args:
        prefix: before the names, "light" or "source".
        kind: "mge" (Gaussians of one ellipticity), "sersic".
        number: of the component.
    """

    prefix: str
    kind: str
    number: int = 1

    def name(self, parameter: str) -> str:
        """Return the full name of a parameter."""
        shared = parameter in ("x", "y")
        return f"{self.prefix}{'' if shared or self.number == 1 else self.number}_{parameter}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Full names; the centre belongs to the first component and serves all."""
        own = ("e1", "e2") if self.kind == "mge" else ("R_sersic", "n_sersic", "e1", "e2")
        return tuple(self.name(p) for p in (*own, *(("x", "y") if self.number == 1 else ())))


@dataclass(frozen=True)
class LightBasis:
    """The light of one galaxy as a sum of columns.

    Args:
        shapes: the components.
        sigmas: widths of the Gaussians, arcsec.
    """

    shapes: tuple[Shape, ...] = ()
    sigmas: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""
        return tuple(name for shape in self.shapes for name in shape.parameters)

    @property
    def columns(self) -> int:
        """Number of linear amplitudes."""
        return sum(len(self.sigmas) if shape.kind == "mge" else 1 for shape in self.shapes)

    def intensity(self, value: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Return the columns at positions `(..., )` as `(columns, ...)`, each of unit amplitude.

        Gaussians have unit total flux; a Sersic profile has unit surface brightness at its half-light radius.
        """
        found = []
        for shape in self.shapes:
            own = {p: value[shape.name(p)] for p in ("e1", "e2", "x", "y")}
            place = own["e1"], own["e2"], own["x"], own["y"]
            if shape.kind == "mge":
                sigmas = torch.tensor(self.sigmas, dtype=x.dtype)
                # one profile with a leading axis of widths: radii are made once for all of them
                found.append(GaussianEllipse(1.0, sigmas, *place).intensity(x, y))
            else:
                R, n = value[shape.name("R_sersic")], value[shape.name("n_sersic")]
                found.append(SersicEllipse(1.0, R, n, *place).intensity(x, y)[None])
        light = torch.cat(found)
        return torch.where(light > FAINTEST, light, 0.0)

    def shine(self, amplitudes: Tensor, value: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the columns with these amplitudes; those that are zero cost nothing."""
        total, first = torch.zeros_like(x), 0
        for shape in self.shapes:
            count = len(self.sigmas) if shape.kind == "mge" else 1
            own = amplitudes[first : first + count]
            lit = own != 0
            if lit.any():
                sigmas = tuple(s for s, on in zip(self.sigmas, lit.tolist(), strict=True) if on) if shape.kind == "mge" else ()
                basis = LightBasis((shape,), sigmas).intensity(value, x, y)
                total = total + torch.einsum("c,c...->...", own[lit], basis)
            first += count
        return total

    def bounds(self, centre: tuple[float, float], reach: float) -> dict[str, Range]:
        """Return where each parameter may go.

        Args:
            centre: of the galaxy, arcsec.
            reach: how far the centre may move, arcsec.
        """
        known = {"e1": (-0.6, 0.6), "e2": (-0.6, 0.6), "R_sersic": (0.01, 20.0), "n_sersic": (0.3, 8.0)}
        known |= {"x": (centre[0] - reach, centre[0] + reach), "y": (centre[1] - reach, centre[1] + reach)}
        return {shape.name(p): r for shape in self.shapes for p, r in known.items() if shape.name(p) in shape.parameters}


def lens_light(kind: str, smallest: float, largest: float) -> LightBasis:
    """Return the basis of a lens galaxy.

    Args:
        kind: "mge" (two sets of Gaussians, each with an ellipticity of its own), "sersic", "sersics" (two), "none".
        smallest: width of the narrowest Gaussian, arcsec.
        largest: of the widest.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in LIGHTS_OF_LENS:
        raise unknown("lens light", kind, LIGHTS_OF_LENS)
    if kind == "none":
        return LightBasis()
    if kind == "mge":
        sigmas = tuple(np.geomspace(smallest, largest, GAUSSIANS).tolist())
        return LightBasis((Shape("light", "mge"), Shape("light", "mge", 2)), sigmas)
    return LightBasis(tuple(Shape("light", "sersic", k + 1) for k in range(2 if kind == "sersics" else 1)))
