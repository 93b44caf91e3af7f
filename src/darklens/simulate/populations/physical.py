"""What populations with physical distances share: a varied smooth lens before a varied source."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

import darklens.simulate.halos as halos
from darklens.errors import InputError
from darklens.lensing import EPL, SIE, Mass, SersicEllipse
from darklens.simulate.populations.base import Population, truth_of
from darklens.simulate.populations.dark_matter import COSMOLOGY
from darklens.simulate.priors import ANGLE, Prior, Uniform, check_support


@dataclass(frozen=True, kw_only=True)
class PhysicalLens(Population):
    """A smooth lens with shear before a Sersic source, in a flat universe with H0 = 70, Om0 = 0.3.

    Args:
        zero_point: AB magnitude of 1 e-/s of the instrument that will look.
        z_lens: redshift of the lens, the same for all systems.
        z_source: redshift of the source.
        lens_profile: `SIE` or `EPL` (which then takes `gamma`).
        lens_mag: AB magnitude of the lens galaxy; None leaves it dark, as after a perfect subtraction.
    """

    zero_point: float
    z_lens: float = 0.5
    z_source: float = 1.0
    lens_profile: type[Mass] = SIE

    #                                       priors, one per line
    theta_E: Prior = Uniform(0.8, 1.5)  #   arcsec; all mass within it, substructure included
    gamma: Prior = Uniform(1.9, 2.2)  #     slope of an EPL
    lens_e: Prior = Uniform(0.0, 0.25)  #   modulus of the ellipticity, any direction
    lens_x: Prior = Uniform(-0.05, 0.05)  # arcsec
    lens_y: Prior = Uniform(-0.05, 0.05)
    shear: Prior = Uniform(0.0, 0.08)  #    modulus, any direction
    source_r: Prior = Uniform(0.0, 0.35)  # arcsec from the middle, any direction
    source_mag: Prior = Uniform(22.5, 24.0)  # AB, before lensing
    R_sersic: Prior = Uniform(0.1, 0.35)  # arcsec
    n_sersic: Prior = Uniform(0.8, 2.5)
    source_e: Prior = Uniform(0.0, 0.35)
    lens_mag: Prior | None = None
    lens_R_sersic: Prior = Uniform(0.5, 1.2)  # arcsec
    lens_n_sersic: Prior = Uniform(3.0, 5.0)

    def __post_init__(self) -> None:
        if not 0 < self.z_lens < self.z_source:
            raise InputError(
                f"lens at redshift {self.z_lens:g}, source at {self.z_source:g}: the lens must stand between; move one"
            )
        if self.lens_profile not in (SIE, EPL):
            raise InputError(f"macro lens {self.lens_profile.__name__} is not drawn by this population: choose SIE or EPL")
        check_support("theta_E", self.theta_E, 0.0, open_low=True)
        check_support("R_sersic", self.R_sersic, 0.0, open_low=True)
        check_support("lens_e", self.lens_e, 0.0, 0.95)
        check_support("source_e", self.source_e, 0.0, 0.95)
        for name in (f.name for f in fields(self)):
            support = getattr(getattr(self, name), "support", (0.0, 0.0))
            if not all(map(math.isfinite, support)):
                raise InputError(
                    f"prior of {name} reaches from {support[0]} to {support[1]}: both ends must be finite; give numbers"
                )

    @property
    def sigma_critical(self) -> float:
        """Critical surface density, M_sun/arcsec^2."""
        return halos.sigma_critical(self.z_lens, self.z_source, COSMOLOGY)

    @property
    def kpc_per_arcsec(self) -> float:
        """Proper kpc per arcsec in the plane of the lens."""
        return halos.kpc_per_arcsec(self.z_lens, COSMOLOGY)

    def smooth_columns(self) -> tuple[str, ...]:
        """Return the truth columns of the smooth lens, the source and the lens light."""
        return (
            *("theta_E", "e1", "e2", *(("gamma",) if self.lens_profile is EPL else ()), "gamma1", "gamma2", "center_x", "center_y"),
            *("z_lens", "z_source", "source_x", "source_y", "source_e1", "source_e2", "R_sersic", "n_sersic", "source_mag"),
            *(("lens_mag", "lens_R_sersic", "lens_n_sersic") if self.lens_mag is not None else ()),
        )

    def draw_smooth(self, rng: np.random.Generator) -> tuple[dict, tuple[float, float], dict, dict | None, dict[str, float]]:
        """Draw macro lens, shear, source, lens light and their truth; they come first, so that classes share them."""
        e1, e2 = _direction(self.lens_e.draw(rng), 2 * ANGLE.draw(rng))
        lens = {"theta_E": self.theta_E.draw(rng), "e1": e1, "e2": e2}
        lens |= {"center_x": self.lens_x.draw(rng), "center_y": self.lens_y.draw(rng)}
        if self.lens_profile is EPL:
            lens["gamma"] = self.gamma.draw(rng)
        shear = _direction(self.shear.draw(rng), 2 * ANGLE.draw(rng))
        source, magnitude = self._draw_source(rng)
        truth = truth_of(lens, shear, source) | {k: lens[k] for k in ("center_x", "center_y")}
        truth |= {"source_mag": magnitude, "z_lens": self.z_lens, "z_source": self.z_source}
        del truth["source_amp"]
        light = None
        if self.lens_mag is not None:
            light, seen = self._draw_lens_light(self.lens_mag, lens, rng)
            truth |= seen
        return lens, shear, source, light, truth

    def _draw_source(self, rng: np.random.Generator) -> tuple[dict[str, float], float]:
        x, y = _direction(self.source_r.draw(rng), ANGLE.draw(rng))
        e1, e2 = _direction(self.source_e.draw(rng), 2 * ANGLE.draw(rng))
        radius, n, magnitude = self.R_sersic.draw(rng), self.n_sersic.draw(rng), self.source_mag.draw(rng)
        source = {"amp": self._amp(magnitude, radius, n), "R_sersic": radius, "n_sersic": n}
        return source | {"e1": e1, "e2": e2, "center_x": x, "center_y": y}, magnitude

    def _draw_lens_light(
        self, lens_mag: Prior, lens: dict[str, float], rng: np.random.Generator
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Draw the lens galaxy, which lies as its mass does."""
        magnitude, radius, n = lens_mag.draw(rng), self.lens_R_sersic.draw(rng), self.lens_n_sersic.draw(rng)
        light = {"amp": self._amp(magnitude, radius, n), "R_sersic": radius, "n_sersic": n}
        light |= {k: lens[k] for k in ("e1", "e2", "center_x", "center_y")}
        return light, {"lens_mag": magnitude, "lens_R_sersic": radius, "lens_n_sersic": n}

    def _amp(self, magnitude: float, radius: float, n: float) -> float:
        flux = 10.0 ** (-0.4 * (magnitude - self.zero_point))
        return float(SersicEllipse.amp_for_flux(flux, R_sersic=radius, n_sersic=n))

    def without(self, lens: dict[str, float], fraction: float) -> dict[str, float]:
        """Return the macro lens with a fraction of the mass within its Einstein radius taken out, to stand elsewhere.

        The mass within R goes as `theta_E^(gamma-1) R^(3-gamma)`; an SIE has gamma = 2.
        """
        return lens | {"theta_E": lens["theta_E"] * (1 - fraction) ** (1 / (lens.get("gamma", 2.0) - 1))}


def _direction(modulus: float, angle: float) -> tuple[float, float]:
    return modulus * math.cos(angle), modulus * math.sin(angle)
