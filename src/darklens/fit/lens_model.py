"""The smooth lens that is fitted, as a list of parameters.

Mass (SIS, SIE or EPL) + external shear + elliptical Sersic source (+ elliptical Sersic lens light) + flat sky. The names are
those of the truth columns of simulated tables. Shear is about the field's centre; source positions lie in the source plane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from darklens.errors import InputError, unknown
from darklens.lensing import EPL, Light, Mass, SersicEllipse, Shear

_MASS = ("theta_E", "gamma", "e1", "e2", "center_x", "center_y", "gamma1", "gamma2")
_SOURCE = ("source_amp", "R_sersic", "n_sersic", "source_e1", "source_e2", "source_x", "source_y")
_LENS_LIGHT = ("lens_amp", "lens_R_sersic", "lens_n_sersic", "lens_e1", "lens_e2", "lens_x", "lens_y")
PARAMETERS = (*_MASS, *_SOURCE, "sky", *_LENS_LIGHT)
"""Every parameter, in the order of the kernel. Amplitudes are flux/arcsec^2 at the Sersic radius, the sky is flux a pixel."""

DEFAULTS = {
    **{"theta_E": 1.0, "gamma": 2.0, "e1": 0.0, "e2": 0.0, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.0, "gamma2": 0.0},
    **{"source_amp": 1.0, "R_sersic": 0.3, "n_sersic": 1.0, "source_e1": 0.0, "source_e2": 0.0, "source_x": 0.0, "source_y": 0.0},
    **{"sky": 0.0, "lens_amp": 0.0, "lens_R_sersic": 0.6, "lens_n_sersic": 4.0},
    **{"lens_e1": 0.0, "lens_e2": 0.0, "lens_x": 0.0, "lens_y": 0.0},
}

BOUNDS = {
    **{
        "theta_E": (0.02, 60.0),
        "gamma": (1.2, 2.8),
        "e1": (-0.6, 0.6),
        "e2": (-0.6, 0.6),
        "gamma1": (-0.5, 0.5),
        "gamma2": (-0.5, 0.5),
    },
    **{
        "source_amp": (0.0, np.inf),
        "R_sersic": (0.01, 10.0),
        "n_sersic": (0.3, 8.0),
        "source_e1": (-0.7, 0.7),
        "source_e2": (-0.7, 0.7),
    },
    **{"lens_amp": (0.0, np.inf), "lens_R_sersic": (0.02, 30.0), "lens_n_sersic": (0.3, 8.0), "lens_e1": (-0.7, 0.7)},
    **{"lens_e2": (-0.7, 0.7)},
    **dict.fromkeys(("center_x", "center_y", "source_x", "source_y"), (-60.0, 60.0)),
}
"""Where a fit may go; the other parameters are free. A position without bounds runs off until no residual is left."""

_FREE_OF_MASS = {
    "sis": ("theta_E", "center_x", "center_y"),
    "sie": ("theta_E", "e1", "e2", "center_x", "center_y"),
    "epl": ("theta_E", "gamma", "e1", "e2", "center_x", "center_y"),
}
_PARTS = ("shear", "sersic", "lens_light")
MODELS = tuple(f"{mass}+shear+sersic{light}" for mass in _FREE_OF_MASS for light in ("", "+lens_light"))


@dataclass(frozen=True)
class LensModel:
    """Which parameters are fitted, and what the others are.

    Args:
        name: one of `MODELS`, for example "sie+shear+sersic+lens_light".
        fixed: parameter -> value for those that are known.

    Raises:
        InputError: unknown model or parameter, or a value outside its bounds.
    """

    name: str = "sie+shear+sersic"
    fixed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise unknown("lens model", self.name, MODELS)
        for key, value in self.fixed.items():
            if key not in PARAMETERS:
                raise unknown("parameter", key, PARAMETERS)
            low, high = BOUNDS.get(key, (-np.inf, np.inf))
            if not low <= value <= high:
                raise InputError(f"{key} = {value} is outside {low:g} to {high:g}: give a value in between")

    @property
    def lens_light(self) -> bool:
        """Whether the lens galaxy shines."""
        return self.name.endswith("lens_light")

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the fitted parameters, in the order of `PARAMETERS`."""
        wanted = {*_FREE_OF_MASS[self.name.split("+")[0]], "gamma1", "gamma2", *_SOURCE, "sky"}
        wanted |= set(_LENS_LIGHT) if self.lens_light else set()
        return tuple(name for name in PARAMETERS if name in wanted and name not in self.fixed)

    @property
    def free_index(self) -> list[int]:
        """Positions of the fitted parameters in `PARAMETERS`."""
        return [PARAMETERS.index(name) for name in self.free]

    def start(self, count: int) -> np.ndarray:
        """Return `(count, len(PARAMETERS))` float64: the fixed values, and defaults for the rest."""
        values = DEFAULTS | self.fixed
        return np.tile([values[name] for name in PARAMETERS], (count, 1))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper bounds of the free parameters."""
        low, high = zip(*(BOUNDS.get(name, (-np.inf, np.inf)) for name in self.free), strict=True)
        return np.array(low), np.array(high)


def profiles(parameters: Tensor) -> tuple[tuple[Mass, ...], tuple[Light, ...], tuple[Light, ...], Tensor]:
    """Return masses, source, lens light and sky `(B,)` of parameters `(B, len(PARAMETERS))`."""
    value = dict(zip(PARAMETERS, parameters.unbind(-1), strict=True))
    mass = EPL(*(value[k] for k in _MASS[:6])), Shear(value["gamma1"], value["gamma2"])
    source = (SersicEllipse(*(value[k] for k in _SOURCE)),)
    lens_light = (SersicEllipse(*(value[k] for k in _LENS_LIGHT)),)
    return mass, source, lens_light, value["sky"]


def brightness(lights: Iterable[Light], x: Tensor, y: Tensor) -> Tensor:
    """Return the surface brightness of profiles together."""
    return sum((light.intensity(x, y) for light in lights), x.new_zeros(()))
