"""Populations as maps from the unit cube: uniform numbers in, scenes out; one map for each class.

`u = (macro, substructure)`: the first coordinates are those of the smooth lens and its source, the same for every class. The
prior is uniform in u by construction, so that whoever samples needs only the likelihood. The formulas are those of
`simulate/populations`, which draw the same numbers one system at a time (a test compares them).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing import Mass, PointMasses, SersicEllipse, Shear
from darklens.simulate import CommonTest, DeepLenseSim, Population, Scene
from darklens.simulate.populations.deeplense import de_broglie_arcsec
from darklens.simulate.priors import ANGLE, Fixed, PowerLaw, Prior, Quantiles, Uniform

Values = dict[str, Tensor]
Points = tuple[Tensor, Tensor, Tensor]
Smooth = tuple[tuple[Mass, ...], SersicEllipse]
"""Lens and source."""
COMMON_MACRO = (
    "theta_E",
    "gamma",
    "angle",
    "source_amp",
    "source_q",
    "source_angle",
    "source_r",
    "azimuth",
    "R_sersic",
    "n_sersic",
)
DEEPLENSE_MACRO = (
    *("lens_mass", "e1", "e2", "gamma1", "gamma2", "source_x", "source_y"),
    *("R_sersic", "n_sersic", "source_e1", "source_e2"),
)


def quantile(prior: Prior, u: Tensor) -> Tensor:
    """Return the value below which a fraction u of a prior lies.

    Raises:
        InputError: a kind of prior without a quantile function here.
    """
    if isinstance(prior, Fixed):
        return torch.full_like(u, prior.value)
    if isinstance(prior, Uniform):
        return prior.low + (prior.high - prior.low) * u
    if isinstance(prior, PowerLaw):
        k = prior.slope + 1
        return (prior.low**k + (prior.high**k - prior.low**k) * u) ** (1 / k)
    if isinstance(prior, Quantiles):
        return torch.from_numpy(np.interp(u.numpy(), prior.fractions, prior.values))
    raise InputError(f"prior {type(prior).__name__} has no quantile function: use Fixed, Uniform, PowerLaw or Quantiles")


@dataclass(frozen=True)
class Hypothesis:
    """One class of a population as a map from the unit cube.

    Args:
        label: class.
        macro: number of coordinates of the smooth lens and its source, the first ones.
        size: number of all coordinates.
        periodic: `(size,)` bool, coordinates that are angles.
        blocks: `(K, size - macro)` bool, coordinates of the substructure that belong together.
        scene: maps `(B, size)` float64 to a scene.
    """

    label: str
    macro: int
    size: int
    periodic: Tensor
    blocks: Tensor
    scene: Callable[[Tensor], Scene]


def hypotheses(population: Population) -> list[Hypothesis]:
    """Return the classes of a population, in label order.

    Raises:
        InputError: the population has no map from the unit cube: its number of haloes varies.
    """
    substructure: dict[str, tuple[int, Callable[..., Points | None]]]
    macro: Callable[..., Smooth]
    if isinstance(population, CommonTest):
        priors = {name: _prior_of_common(population, name) for name in COMMON_MACRO}
        substructure = {"no": (0, _nothing), "sphere": (1 + 3 * population.n_sub, _spheres), "vort": (5, _vortex)}
        macro = _common_macro
    elif isinstance(population, DeepLenseSim):
        priors = {name: getattr(population, name) for name in DEEPLENSE_MACRO}
        substructure = {"no_sub": (0, _nothing), "cdm": (3 * population.n_sub, _cdm), "axion": (2, _axion)}
        macro = _deeplense_macro
    else:
        raise InputError(
            f"{type(population).__name__} draws a number of haloes that varies, which this estimate cannot sample: "
            "only the bracket between a trained run and the oracle is known"
        )
    free = [name for name, prior in priors.items() if not isinstance(prior, Fixed)]
    found = []
    for label in population.classes:
        extra, points = substructure[label]
        periodic = torch.zeros(len(free) + extra, dtype=torch.bool)
        if "azimuth" in free:
            periodic[free.index("azimuth")] = True
        blocks = _blocks(extra, population.n_sub)
        scene = _scene(population, label, priors, free, macro, points)
        found.append(Hypothesis(label, len(free), len(free) + extra, periodic, blocks, scene))
    return found


def _blocks(extra: int, n_sub: int) -> Tensor:
    """Return which coordinates move together: those of one mass, and everything in a small class."""
    if extra < 3 * n_sub:
        single = torch.eye(extra, dtype=torch.bool)
        return torch.cat([single, torch.ones(min(extra, 1), extra, dtype=torch.bool)])
    first = extra - 3 * n_sub
    blocks = torch.zeros(n_sub + first, extra, dtype=torch.bool)
    blocks[torch.arange(first), torch.arange(first)] = True
    for k in range(n_sub):
        blocks[first + k, first + 3 * k : first + 3 * k + 3] = True
    return blocks


def _scene(
    population: Population,
    label: str,
    priors: dict[str, Prior],
    free: list[str],
    macro: Callable[..., Smooth],
    points: Callable[..., Points | None],
) -> Callable[[Tensor], Scene]:
    def scene(u: Tensor) -> Scene:
        column = {name: u[:, free.index(name)] if name in free else u.new_zeros(len(u)) for name in priors}
        values = {name: quantile(prior, column[name]) for name, prior in priors.items()}
        masses, source = macro(population, values)
        found = points(population, values, u[:, len(free) :])
        many = () if found is None else (PointMasses(*found),)
        count = len(u)
        return Scene(masses, many, (source,), (label,) * count, {}, 0, tuple(range(count)))

    return scene


def _nothing(population: Population, macro: Values, u: Tensor) -> None:
    return None


def _prior_of_common(population: CommonTest, name: str) -> Prior:
    if name == "azimuth":
        return ANGLE
    return population.angle if name == "source_angle" else getattr(population, name)


def _common_macro(population: CommonTest, v: Values) -> Smooth:
    phi, source_phi = -torch.deg2rad(v["angle"]), -torch.deg2rad(v["source_angle"])
    shear = Shear(v["gamma"] * torch.cos(2 * phi), v["gamma"] * torch.sin(2 * phi))
    e = (1 - v["source_q"]) / (1 + v["source_q"])
    source = SersicEllipse(
        v["source_amp"] / population.pixel_area, v["R_sersic"], v["n_sersic"],
        e * torch.cos(2 * source_phi), e * torch.sin(2 * source_phi),
        v["source_r"] * torch.cos(v["azimuth"]), v["source_r"] * torch.sin(v["azimuth"]),
    )  # fmt: skip
    zero = torch.zeros_like(e)
    return (population.lens_profile(v["theta_E"], zero, zero), shear), source


def _spheres(population: CommonTest, macro: Values, u: Tensor) -> Points:
    fraction, rest = quantile(population.f_sub, u[:, :1]), u[:, 1:].unflatten(1, (population.n_sub, 3))
    mass, r, angle = (
        quantile(population.m_sub, rest[..., 0]),
        quantile(population.r_sub, rest[..., 1]),
        quantile(ANGLE, rest[..., 2]),
    )
    theta = macro["theta_E"][:, None] * (fraction * mass / mass.sum(1, keepdim=True)).sqrt()
    return theta, r * torch.cos(angle), r * torch.sin(angle)


def _vortex(population: CommonTest, macro: Values, u: Tensor) -> Points:
    priors = (population.f_vortex, population.vortex_half_length, ANGLE, population.r_vortex, ANGLE)
    fraction, length, angle, r, azimuth = (quantile(prior, u[:, k : k + 1]) for k, prior in enumerate(priors))
    theta_v = macro["theta_E"][:, None] * fraction.sqrt()
    return _string(population.vortex_points, theta_v, length, angle, r * torch.cos(azimuth), r * torch.sin(azimuth))


def _string(count: int, theta_v: Tensor, length: Tensor, angle: Tensor, x: Tensor | float, y: Tensor | float) -> Points:
    along = torch.linspace(-1, 1, count, dtype=torch.float64) * length
    theta = (theta_v / math.sqrt(count)).expand(len(along), count)
    return theta, x + along * torch.cos(angle), y + along * torch.sin(angle)


def _deeplense_macro(population: DeepLenseSim, v: Values) -> Smooth:
    scale = population.deflection_scale
    theta_e = float(population.einstein_radius(1.0)) * math.sqrt(scale) * v["lens_mass"].sqrt()
    zero = torch.zeros_like(theta_e)
    lens = population.lens_profile(theta_e, v["e1"], v["e2"], zero, zero)
    amp = torch.full_like(theta_e, population.source_amp)
    source = SersicEllipse(amp, v["R_sersic"], v["n_sersic"], v["source_e1"], v["source_e2"], v["source_x"], v["source_y"])
    return (lens, Shear(v["gamma1"] * scale, v["gamma2"] * scale)), source


def _cdm(population: DeepLenseSim, macro: Values, u: Tensor) -> Points:
    rest = u.unflatten(1, (population.n_sub, 3))
    mass, r, angle = (
        quantile(population.m_sub, rest[..., 0]),
        quantile(population.r_sub, rest[..., 1]),
        quantile(ANGLE, rest[..., 2]),
    )
    return float(population.einstein_radius(1.0)) * mass.sqrt(), r * torch.sin(angle), r * torch.cos(angle)


def _axion(population: DeepLenseSim, macro: Values, u: Tensor) -> Points:
    length = de_broglie_arcsec(10.0 ** quantile(population.log10_m_axion, u[:, :1]))
    theta_v = torch.full_like(length, float(population.einstein_radius(population.vortex_mass)))
    return _string(population.vortex_points, theta_v, length, quantile(ANGLE, u[:, 1:2]), 0.0, 0.0)
