"""What can be turned in the laboratory: one line each, with its range, for sliders, requests and permalinks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

GROUPS = {
    "lens": "Lens",
    "source": "Source",
    "substructure": "Substructure",
    "camera": "Instrument",
}
"""Groups of parameters and their titles, in the order of the page."""

KINDS = {
    "none": "None: a smooth lens",
    "subhalos": "Cold dark matter: subhaloes",
    "points": "Point masses, as in DeepLense",
    "vortex": "Axion dark matter: a vortex",
    "clump": "One clump",
}
"""Kinds of substructure, and what the page calls them."""


@dataclass(frozen=True)
class Slider:
    """How a parameter is shown.

    Args:
        group: key of `GROUPS`.
        label: name on the page.
        unit: likewise.
        step: of the slider.
        kinds: kinds of substructure that it belongs to; all others hide it.
        hint: what it does, in one sentence.
        log: whether the number is a decimal logarithm, of which the page shows the power.
    """

    group: str
    label: str
    unit: str = ""
    step: float = 0.01
    kinds: tuple[str, ...] = ()
    hint: str = ""
    log: bool = False


class Bench(BaseModel):
    """A lens system before a camera, as plain numbers; angles in arcsec, magnitudes AB, x to the right, y up."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    theta_E: float = Field(1.2, ge=0.3, le=2.5)
    e1: float = Field(0.1, ge=-0.4, le=0.4)
    e2: float = Field(0.05, ge=-0.4, le=0.4)
    gamma: float = Field(2.0, ge=1.5, le=2.5)
    gamma1: float = Field(0.03, ge=-0.25, le=0.25)
    gamma2: float = Field(0.0, ge=-0.25, le=0.25)

    source_x: float = Field(0.06, ge=-1.0, le=1.0)
    source_y: float = Field(0.04, ge=-1.0, le=1.0)
    R_sersic: float = Field(0.2, ge=0.03, le=1.0)
    n_sersic: float = Field(1.0, ge=0.5, le=4.0)
    source_mag: float = Field(22.5, ge=16.0, le=27.0)
    source_e1: float = Field(0.1, ge=-0.5, le=0.5)
    source_e2: float = Field(0.0, ge=-0.5, le=0.5)

    substructure: Literal["none", "subhalos", "points", "vortex", "clump"] = "none"
    f_sub: float = Field(0.01, ge=0.0, le=0.05)
    log10_m_min: float = Field(7.5, ge=7.5, le=9.5)
    log10_mass: float = Field(9.7, ge=7.5, le=11.5)
    x_sub: float = Field(0.9, ge=-3.0, le=3.0)
    y_sub: float = Field(0.8, ge=-3.0, le=3.0)
    half_length: float = Field(0.5, ge=0.05, le=2.0)
    angle: float = Field(30.0, ge=-90.0, le=90.0)
    seed: int = Field(1, ge=0, le=9999)

    instrument: str = Field("hst-uvis-f814w", max_length=40, pattern=r"^[a-z0-9-]+$")
    size: int = Field(128, ge=32, le=256)
    exposures: float = Field(1.0, ge=0.1, le=100.0)
    noise: bool = True
    noise_seed: int = Field(0, ge=0, le=9999)

    def changed(self) -> dict[str, Any]:
        """Return what is not at its default, as permalinks have it."""
        return self.model_dump(exclude_defaults=True)


SLIDERS: dict[str, Slider] = {
    "theta_E": Slider("lens", "Einstein radius θ_E", "″", hint="How far the lens bends light: the radius of the ring."),
    "e1": Slider("lens", "Ellipticity e₁", hint="Stretches the mass along x (positive) or y."),
    "e2": Slider("lens", "Ellipticity e₂", hint="Stretches the mass along the diagonals."),
    "gamma": Slider("lens", "Slope γ", hint="How steeply the mass falls off: 2 is isothermal."),
    "gamma1": Slider("lens", "Shear γ₁", step=0.005, hint="The pull of neighbours, along x or y."),
    "gamma2": Slider("lens", "Shear γ₂", step=0.005, hint="The pull of neighbours, along the diagonals."),
    "source_x": Slider("source", "Position x", "″", hint="Where the source stands behind the lens."),
    "source_y": Slider("source", "Position y", "″"),
    "R_sersic": Slider("source", "Half-light radius", "″", hint="Half of the light is inside."),
    "n_sersic": Slider("source", "Sérsic index n", step=0.05, hint="1 is a disc, 4 an elliptical galaxy."),
    "source_mag": Slider("source", "Magnitude", "AB", step=0.1, hint="Before lensing; smaller is brighter."),
    "source_e1": Slider("source", "Ellipticity e₁"),
    "source_e2": Slider("source", "Ellipticity e₂"),
    "f_sub": Slider("substructure", "Mass fraction", "", 0.001, ("subhalos", "points"), "Share of the mass within the ring."),
    "log10_m_min": Slider(
        "substructure", "Lightest subhalo", "M☉", 0.1, ("subhalos",), "Masses follow m^-1.9 up to 1e10 M☉.", True
    ),
    "log10_mass": Slider("substructure", "Mass", "M☉", 0.05, ("vortex", "clump"), "Of the vortex or the clump.", True),
    "x_sub": Slider("substructure", "Position x", "″", 0.02, ("vortex", "clump"), "It shows most on an arc."),
    "y_sub": Slider("substructure", "Position y", "″", 0.02, ("vortex", "clump")),
    "half_length": Slider("substructure", "Half-length", "″", 0.01, ("vortex",), "Longer for lighter axions."),
    "angle": Slider("substructure", "Direction", "°", 1, ("vortex",), "Counter-clockwise from the x axis."),
    "seed": Slider("substructure", "Draw", "", 1, ("subhalos", "points"), "Another number, other subhaloes."),
    "size": Slider("camera", "Field", "px", 16, hint="Pixels a side."),
    "exposures": Slider("camera", "Exposure", "×", 0.1, hint="Times the instrument's own."),
    "noise_seed": Slider("camera", "Noise draw", "", 1, hint="Another number, other noise."),
}
"""How each number is shown; `Bench` says its range."""


def controls() -> list[dict[str, Any]]:
    """Return every slider with its range, as the page draws it."""
    fields = Bench.model_json_schema()["properties"]
    found = []
    for name, slider in SLIDERS.items():
        field = fields[name]
        found.append({"name": name, "low": field["minimum"], "high": field["maximum"], "value": field["default"], "about": slider})
    return found
