"""The population behind the images of the "common test"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darklens.lensing import SIS
from darklens.simulate.populations.base import Perturbers, Population, System, points, truth_of
from darklens.simulate.priors import ANGLE, Fixed, PowerLaw, Prior, Quantiles, Uniform


@dataclass(frozen=True)
class CommonTest(Population):
    """The population behind the "common test" images (`no`, `sphere`, `vort`), with parameters measured on them.

    Its generator is an older PyAutoLens-based family that is not public; the numbers are those of fits to official images
    (SIS, shear, Sersic, Gaussian PSF, sky and Poisson noise leave a reduced chi^2 of 0.998). Angles of the shear and of the
    source were drawn in radians and taken as degrees, clockwise in our frame (defect 6): hence the fixed orientation.
    `theta_E`, `source_r` and the PSF's width lie within the errors of those hundred fits, and inside them where the mean image and
    the power spectrum of 9,995 official images agree best (`benchmarks/common_test_statistics.py`).
    """

    classes = ("no", "sphere", "vort")
    lens_profile = SIS

    #                                       priors, one per line
    theta_E: Prior = Uniform(0.95, 1.63)  # arcsec
    gamma: Prior = Uniform(0.0, 0.3)
    angle: Prior = ANGLE  #                 taken as degrees, clockwise
    R_sersic: Prior = Fixed(0.5)  #         arcsec
    n_sersic: Prior = Fixed(1.5)
    source_amp: Prior = Fixed(100.0)  #     counts a pixel at R_sersic
    source_r: Prior = PowerLaw(-0.15, 0.0, 0.5)  #  arcsec from the centre
    source_q: Prior = Uniform(0.4, 1.0)
    n_sub: int = 25
    f_sub: Prior = Uniform(0.02, 0.04)  #   of theta_E^2, all subhalos together
    m_sub: Prior = PowerLaw(-0.9, 1e6, 1e10)  # relative masses
    r_sub: Prior = Quantiles((0, 0.5, 1), (0, 0.9, 2.0))  # arcsec from the centre
    f_vortex: Prior = Quantiles((0, 0.5, 1), (0.01, 0.025, 0.05))  # of theta_E^2
    vortex_half_length: Prior = Quantiles((0, 0.5, 1), (0.25, 0.6, 1.3))  # arcsec
    r_vortex: Prior = Uniform(0.0, 1.0)  #  arcsec from the centre
    vortex_points: int = 100
    pixel_area: float = 0.05**2  #          arcsec^2

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: lens, source, substructure as a fraction of theta_E^2, vortex."""
        return (
            *("theta_E", "gamma1", "gamma2", "source_x", "source_y", "source_e1", "source_e2"),
            *("R_sersic", "n_sersic", "source_amp", "n_sub", "f_sub"),
            *("vortex_theta_v", "vortex_half_length", "vortex_angle", "vortex_x", "vortex_y"),
        )

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system; the macro lens and the source come first, so that classes share them for one generator."""
        theta_e = float(self.theta_E.draw(rng))
        gamma, phi = self.gamma.draw(rng), -math.radians(self.angle.draw(rng))
        shear = (gamma * math.cos(2 * phi), gamma * math.sin(2 * phi))
        q, phi = self.source_q.draw(rng), -math.radians(self.angle.draw(rng))
        e, r, azimuth = (1 - q) / (1 + q), self.source_r.draw(rng), ANGLE.draw(rng)
        source = {
            "amp": self.source_amp.draw(rng) / self.pixel_area,
            "R_sersic": self.R_sersic.draw(rng),
            "n_sersic": self.n_sersic.draw(rng),
            "e1": e * math.cos(2 * phi),
            "e2": e * math.sin(2 * phi),
            "center_x": r * math.cos(azimuth),
            "center_y": r * math.sin(azimuth),
        }
        lens = {"theta_E": theta_e, "center_x": 0.0, "center_y": 0.0}
        truth = truth_of(lens, shear, source) | {"n_sub": 0.0, "f_sub": 0.0}
        perturbers, extra = self._substructure(label, theta_e, rng)
        return System(lens, shear, source, perturbers, truth | extra)

    def _substructure(self, label: str, theta_e: float, rng: np.random.Generator) -> tuple[Perturbers, dict[str, float]]:
        if label == "sphere":
            mass, fraction = self.m_sub.draw(rng, self.n_sub), self.f_sub.draw(rng)
            r, angle = self.r_sub.draw(rng, self.n_sub), ANGLE.draw(rng, self.n_sub)
            theta = theta_e * np.sqrt(fraction * mass / mass.sum())
            many = points(theta, r * np.cos(angle), r * np.sin(angle))
            return many, {"n_sub": float(self.n_sub), "f_sub": float(fraction)}
        if label == "vort":
            theta_v = theta_e * math.sqrt(self.f_vortex.draw(rng))
            half_length, angle = float(self.vortex_half_length.draw(rng)), ANGLE.draw(rng)
            away, azimuth = self.r_vortex.draw(rng), ANGLE.draw(rng)
            x, y = away * math.cos(azimuth), away * math.sin(azimuth)
            along = np.linspace(-half_length, half_length, self.vortex_points)
            theta = np.full(self.vortex_points, theta_v / math.sqrt(self.vortex_points))
            many = points(theta, x + along * np.cos(angle), y + along * np.sin(angle))
            names = ("vortex_theta_v", "vortex_half_length", "vortex_angle", "vortex_x", "vortex_y")
            return many, dict(zip(names, (theta_v, half_length, angle, x, y), strict=True))
        return {}, {}
