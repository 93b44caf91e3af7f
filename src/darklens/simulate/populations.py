"""Populations: priors over scenes, with class labels.

A population draws one system at a time from a generator of its own (`rng.row_generator`), as plain numbers in a `System`; the
base class stacks systems into a `Scene`. Classes take turns (row i has class i mod k), so that every slice is balanced.

Adding a population is one class with `classes` and `draw_system`, and one preset line in `presets.py`.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch

from darklens.lensing import SIE, SIS, Cosmology, PointMasses, SersicEllipse, Shear
from darklens.simulate.priors import ANGLE, Fixed, PowerLaw, Prior, Quantiles, Uniform
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Scene

SERSIC = ("amp", "R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")


@dataclass(frozen=True)
class System:
    """One lens system as plain numbers: macro lens, perturbers (`theta_E`, x, y in arcsec), source, truth."""

    lens: dict[str, float]
    shear: tuple[float, float]
    source: dict[str, float]
    perturbers: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    truth: dict[str, float] = field(default_factory=dict)


class Population(ABC):
    """A prior over scenes with class labels."""

    classes: tuple[str, ...]
    z_lens: float = 0.5
    z_source: float = 1.0
    lens_profile: type = SIE

    @abstractmethod
    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system of a class."""

    def draw(self, n: int, seed: int, start: int = 0) -> Scene:
        """Draw the systems of rows `start` to `start + n - 1` of the table with this seed.

        Returns:
            A scene of n systems in float64.
        """
        rows = range(start, start + n)
        labels = tuple(self.classes[row % len(self.classes)] for row in rows)
        systems = [self.draw_system(label, row_generator(seed, row, "scene")) for label, row in zip(labels, rows, strict=True)]
        return self._stack(systems, labels, seed, tuple(rows))

    def _stack(self, systems: list[System], labels: tuple[str, ...], seed: int, rows: tuple[int, ...]) -> Scene:
        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float64)

        lens = self.lens_profile(**{k: column([s.lens[k] for s in systems]) for k in systems[0].lens})
        shear = Shear(column([s.shear[0] for s in systems]), column([s.shear[1] for s in systems]))
        source = SersicEllipse(**{k: column([s.source[k] for s in systems]) for k in SERSIC})
        points = np.zeros((3, len(systems), max(s.perturbers.shape[1] for s in systems)))
        for i, system in enumerate(systems):
            points[:, i, : system.perturbers.shape[1]] = system.perturbers
        names = sorted({k for s in systems for k in s.truth})
        truth = {k: np.array([s.truth.get(k, math.nan) for s in systems]) for k in self.truth_columns()}
        assert set(names) <= set(truth), "a system carries a truth column that truth_columns() does not list"
        return Scene((lens, shear), PointMasses(*torch.from_numpy(points)), (source,), labels, truth, seed, rows)

    @abstractmethod
    def truth_columns(self) -> tuple[str, ...]:
        """Return the names of the truth columns, the same for every row."""


def _truth(lens: dict[str, float], shear: tuple[float, float], source: dict[str, float]) -> dict[str, float]:
    own = {k: v for k, v in lens.items() if k not in ("center_x", "center_y")}
    renamed = {
        "amp": "source_amp",
        "center_x": "source_x",
        "center_y": "source_y",
        "e1": "source_e1",
        "e2": "source_e2",
    }
    return own | {"gamma1": shear[0], "gamma2": shear[1]} | {renamed.get(k, k): v for k, v in source.items()}


@dataclass(frozen=True)
class DeepLenseSim(Population):
    """The population of the public DeepLenseSim scripts, as published, line by line (Models I, II and III).

    A fixed SIE with shear and a fixed Sersic source at a random place; `no_sub` is the lens alone, `cdm` adds 25 point masses,
    `axion` a vortex as a string of 100 equal point masses. The defects of those scripts are kept, and are these:

    1. Einstein radii come from luminosity distances with `D_ls = D_s - D_l`.
    2. The subhalo mass function has slope -0.9, where -1.9 is documented.
    3. A Poisson number of subhalos is drawn there and ignored: always 25.
    7. In Models II and III lenstronomy rescales every deflection (`deflection_scale`), because the scripts hand it
       `z_source_convention = 2.5` with a source at 1.0.

    Args:
        source_amp: surface brightness at `R_sersic`, flux/arcsec^2.
        deflection_scale: factor on every deflection; 1 for Model I.
    """

    source_amp: float
    deflection_scale: float = 1.0

    classes = ("no_sub", "cdm", "axion")

    #                                       priors, one per line
    lens_mass: Prior = Fixed(1e12)  #       M_sun
    e1: Prior = Fixed(0.1)
    e2: Prior = Fixed(0.0)
    gamma1: Prior = Fixed(0.05)
    gamma2: Prior = Fixed(0.0)
    source_x: Prior = Uniform(-0.35, 0.35)  # arcsec
    source_y: Prior = Uniform(-0.35, 0.35)
    R_sersic: Prior = Fixed(0.25)
    n_sersic: Prior = Fixed(1.0)
    source_e1: Prior = Fixed(-0.1)
    source_e2: Prior = Fixed(0.1)
    n_sub: int = 25
    m_sub: Prior = PowerLaw(-0.9, 1e6, 1e10)  # M_sun
    r_sub: Prior = Uniform(0.25, 2.0)  #    arcsec from the centre
    vortex_mass: float = 3e10  #            M_sun
    vortex_points: int = 100
    log10_m_axion: Prior = Uniform(-24.0, -22.0)  # eV

    def truth_columns(self) -> tuple[str, ...]:
        """Return the truth columns: lens, source, number and total mass of subhalos, axion mass, vortex."""
        return (
            *("theta_E", "e1", "e2", "gamma1", "gamma2", "z_lens", "z_source"),
            *("source_x", "source_y", "source_e1", "source_e2", "R_sersic", "n_sersic", "source_amp"),
            *("n_sub", "m_sub", "log10_m_axion", "vortex_half_length", "vortex_angle"),
        )

    def einstein_radius(self, mass: float | np.ndarray) -> float | np.ndarray:
        """Return the Einstein radius in arcsec of a mass in M_sun, with defects 1 and 7."""
        return _radius_of_one_sun(self.z_lens, self.z_source) * np.sqrt(mass * self.deflection_scale)

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system; the macro lens and the source come first, so that classes share them for one generator."""
        # The SIE's Einstein radius is linear in the deflection scale, a point mass's goes with its square root.
        radius = _radius_of_one_sun(self.z_lens, self.z_source)
        theta_e = float(radius * math.sqrt(self.lens_mass.draw(rng)) * self.deflection_scale)
        lens = {"theta_E": theta_e, "e1": self.e1.draw(rng), "e2": self.e2.draw(rng), "center_x": 0.0, "center_y": 0.0}
        shear = (self.gamma1.draw(rng) * self.deflection_scale, self.gamma2.draw(rng) * self.deflection_scale)
        source = {
            "amp": self.source_amp,
            "R_sersic": self.R_sersic.draw(rng),
            "n_sersic": self.n_sersic.draw(rng),
            "e1": self.source_e1.draw(rng),
            "e2": self.source_e2.draw(rng),
            "center_x": self.source_x.draw(rng),
            "center_y": self.source_y.draw(rng),
        }
        truth = _truth(lens, shear, source) | {
            "z_lens": self.z_lens,
            "z_source": self.z_source,
            "n_sub": 0.0,
            "m_sub": 0.0,
        }
        perturbers, extra = self._substructure(label, rng)
        return System(lens, shear, source, perturbers, truth | extra)

    def _substructure(self, label: str, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        if label == "cdm":
            mass = self.m_sub.draw(rng, self.n_sub)
            r, angle = self.r_sub.draw(rng, self.n_sub), ANGLE.draw(rng, self.n_sub)
            points = np.stack([self.einstein_radius(mass), r * np.sin(angle), r * np.cos(angle)])
            return points, {"n_sub": float(self.n_sub), "m_sub": float(mass.sum())}
        if label == "axion":
            log10_m = self.log10_m_axion.draw(rng)
            half_length = de_broglie_arcsec(10.0**log10_m)
            angle = ANGLE.draw(rng)
            along = np.linspace(-half_length, half_length, self.vortex_points)
            theta = np.full(self.vortex_points, self.einstein_radius(self.vortex_mass / self.vortex_points))
            points = np.stack([theta, along * np.cos(angle), along * np.sin(angle)])
            return points, {"log10_m_axion": log10_m, "vortex_half_length": half_length, "vortex_angle": angle}
        return np.zeros((3, 0)), {}


@functools.cache
def _radius_of_one_sun(z_lens: float, z_source: float) -> float:
    return Cosmology().einstein_radius_as_published(1.0, z_lens, z_source)


def de_broglie_arcsec(m_axion: float) -> float:
    """Return the de Broglie length in arcsec at z = 0.5 of an axion of this mass in eV (DeepLenseSim)."""
    return 0.06 / (2.0 * m_axion / 1e-22)


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
        truth = _truth(lens, shear, source) | {"n_sub": 0.0, "f_sub": 0.0}
        perturbers, extra = self._substructure(label, theta_e, rng)
        return System(lens, shear, source, perturbers, truth | extra)

    def _substructure(self, label: str, theta_e: float, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        if label == "sphere":
            mass, fraction = self.m_sub.draw(rng, self.n_sub), self.f_sub.draw(rng)
            r, angle = self.r_sub.draw(rng, self.n_sub), ANGLE.draw(rng, self.n_sub)
            theta = theta_e * np.sqrt(fraction * mass / mass.sum())
            points = np.stack([theta, r * np.cos(angle), r * np.sin(angle)])
            return points, {"n_sub": float(self.n_sub), "f_sub": float(fraction)}
        if label == "vort":
            theta_v = theta_e * math.sqrt(self.f_vortex.draw(rng))
            half_length, angle = float(self.vortex_half_length.draw(rng)), ANGLE.draw(rng)
            r, azimuth = self.r_vortex.draw(rng), ANGLE.draw(rng)
            x, y = r * math.cos(azimuth), r * math.sin(azimuth)
            along = np.linspace(-half_length, half_length, self.vortex_points)
            theta = np.full(self.vortex_points, theta_v / math.sqrt(self.vortex_points))
            points = np.stack([theta, x + along * np.cos(angle), y + along * np.sin(angle)])
            names = ("vortex_theta_v", "vortex_half_length", "vortex_angle", "vortex_x", "vortex_y")
            return points, dict(zip(names, (theta_v, half_length, angle, x, y), strict=True))
        return np.zeros((3, 0)), {}
