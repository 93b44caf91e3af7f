"""What a lens finder sees that is no lens: field galaxies, spirals, rings, mergers, satellites, tidal arcs, stars, trails.

All functions draw for a whole batch; numbers are `(B,)` and magnitudes `(B, bands)` in g, r, i.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darklens.lensing import Ring, SersicEllipse, Spiral
from darklens.simulate.priors import ANGLE, Prior, Quantiles, Uniform
from darklens.simulate.row_draws import RowDraws
from darklens.simulate.sky import SkyBuilder, Stars

Draws = dict[str, np.ndarray]

KINDS = ("field", "elliptical", "spiral", "ring", "merger", "satellites", "tidal", "star", "trail")
"""What is no lens; the truth column `kind` has the index here."""

WEIGHTS: Mapping[str, tuple[float, float]] = {
    #             at difficulty 0 and 1
    "field": (0.80, 0.34),  #      whatever galaxy stands there, faint mostly
    "elliptical": (0.07, 0.16),  # a lens galaxy without a lensed source
    "spiral": (0.05, 0.14),
    "ring": (0.005, 0.04),
    "merger": (0.02, 0.08),
    "satellites": (0.015, 0.12),  # a lens galaxy with blue companions
    "tidal": (0.005, 0.06),  #       one with a blue arc on one side, and no counter-image
    "star": (0.02, 0.03),
    "trail": (0.015, 0.03),  #       of a satellite or of a bleeding star
}

RED_Z = (0.2, 0.35, 0.5, 0.65, 0.85)
RED_GI = (1.60, 2.10, 2.50, 2.80, 2.95)
RED_RI = (0.50, 0.62, 0.85, 1.10, 1.30)
"""Colours of a passive galaxy by redshift, AB."""

HALF_FIELD = 5.9
"""Neighbours stand within so many arcsec of the middle along each axis, a little beyond the cutout's edge."""
TANGENTIAL = (0.1, 0.7)
"""Share of satellites that lie along a circle about the galaxy as lensed images do, at difficulty 0 and 1."""


def between(easy: Prior, hard: Prior, difficulty: float) -> Prior:
    """Return the prior part of the way from one to another of its kind."""
    parts = [np.array((vars(p).get("values") or p.support), float) for p in (easy, hard)]
    values = tuple((1 - difficulty) * parts[0] + difficulty * parts[1])
    return Quantiles(easy.fractions, values) if isinstance(easy, Quantiles) else Uniform(*values)


def shape(draws: RowDraws, modulus: Prior, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw an ellipticity in any direction."""
    e, angle = modulus.draw(draws, size), 2 * ANGLE.draw(draws, size)
    return e * np.cos(angle), e * np.sin(angle)


def in_bands(mag: np.ndarray, gi: np.ndarray, ri: np.ndarray) -> np.ndarray:
    """Return magnitudes in g, r, i, `(..., 3)`, from those in i and two colours."""
    return np.stack([mag + gi, mag + ri, mag], -1)


def red(draws: RowDraws, mag: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the magnitudes of a passive galaxy at a redshift."""
    gi = np.interp(z, RED_Z, RED_GI) + draws.normal(0.0, 0.08)
    return in_bands(mag, gi, np.interp(z, RED_Z, RED_RI) + draws.normal(0.0, 0.05))


def blue(draws: RowDraws, mag: np.ndarray) -> np.ndarray:
    """Return the magnitudes of a star-forming galaxy; one in eight is red all the same."""
    gi, odd = draws.uniform(-0.1, 1.1), draws.random() < 0.12
    gi = np.where(odd, draws.uniform(1.2, 2.4), gi)
    return in_bands(mag, gi, 0.4 * gi + draws.normal(0.0, 0.06))


def any_colour(draws: RowDraws, mag: np.ndarray, low: float = 0.2, high: float = 2.6) -> np.ndarray:
    """Return the magnitudes of galaxies of all colours; `mag` is `(B,)` or `(B, K)`."""
    size = mag.shape[1] if mag.ndim > 1 else None
    gi = draws.uniform(low, high, size)
    return in_bands(mag, gi, 0.38 * gi + draws.normal(0.0, 0.08, size))


def galaxies(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, central: Draws, difficulty: float) -> np.ndarray:
    """Add what is no lens where a mask says so, and return the kinds, `(B,)` int.

    Args:
        draws: random numbers.
        sky: receives the light, but not that of the red galaxy in the middle.
        where: `(B,)`.
        central: the red galaxy; magnitudes `(B, bands)`.
        difficulty: 0 to 1.
    """
    weights = np.array([(1 - difficulty) * easy + difficulty * hard for easy, hard in WEIGHTS.values()])
    kind = draws.choice(weights)

    def of(*names: str) -> np.ndarray:
        return where & np.isin(kind, [KINDS.index(name) for name in names])

    middle = {k: central[k] for k in ("center_x", "center_y")}
    _field(draws, sky, of("field", "trail"), middle)
    _spiral(draws, sky, of("spiral"), middle)
    _ring(draws, sky, of("ring"), middle)
    _merger(draws, sky, of("merger"), middle)
    _satellites(draws, sky, of("satellites"), middle, difficulty)
    _tidal(draws, sky, of("tidal"), middle)
    star = Quantiles((0, 1), (16.5, 22.5)).draw(draws)
    sky.add(Stars, of("star"), any_colour(draws, star, 0.4, 2.6), x=middle["center_x"], y=middle["center_y"])
    _trail(draws, sky, of("trail"))
    return kind


FIELD_MAG = Quantiles((0, 0.1, 0.5, 0.9, 1), (19.3, 20.9, 22.4, 23.8, 24.6))


def _field(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws) -> None:
    """Add a disc or a spheroid, faint mostly."""
    mag = FIELD_MAG.draw(draws)
    radius = 0.5 * 10 ** (-0.15 * (mag - 22.4)) * np.exp(draws.normal(0.0, 0.3))
    n = np.where(draws.random() < 0.6, draws.uniform(0.7, 1.5), draws.uniform(2.0, 4.5))
    e1, e2 = shape(draws, Uniform(0.0, 0.45))
    sky.add(SersicEllipse, where, any_colour(draws, mag, 0.2, 2.8), R_sersic=radius, n_sersic=n, e1=e1, e2=e2, **middle)


def _spiral(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws) -> None:
    """Add a blue disc with arms, and its red bulge."""
    mag, bulge = Quantiles((0, 0.5, 1), (17.8, 19.6, 21.2)).draw(draws), draws.uniform(0.05, 0.45)
    radius = 1.2 * 10 ** (-0.15 * (mag - 19.6)) * np.exp(draws.normal(0.0, 0.2))
    e1, e2 = shape(draws, Uniform(0.0, 0.45))
    arms = {"arms": 2.0 + (draws.random() < 0.25) + (draws.random() < 0.15), "strength": draws.uniform(0.4, 1.0)}
    arms |= {"pitch": draws.uniform(0.18, 0.6) * np.where(draws.random() < 0.5, 1.0, -1.0), "phase": ANGLE.draw(draws)}
    disc = any_colour(draws, mag - 2.5 * np.log10(1 - bulge), 0.4, 1.4)
    sky.add(Spiral, where, disc, R_sersic=radius, e1=e1, e2=e2, **arms, **middle)
    core = any_colour(draws, mag - 2.5 * np.log10(bulge), 1.2, 2.4)
    sky.add(SersicEllipse, where, core, R_sersic=0.25 * radius, n_sersic=draws.uniform(1.0, 3.0), e1=e1 / 3, e2=e2 / 3, **middle)


def _ring(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws) -> None:
    """Add a blue ring about the red galaxy."""
    e1, e2 = shape(draws, Uniform(0.0, 0.4))
    parts = {"radius": draws.uniform(0.8, 2.2), "sigma": draws.uniform(0.15, 0.4), "phase": ANGLE.draw(draws)}
    mag = blue(draws, draws.uniform(20.5, 22.5))
    sky.add(Ring, where, mag, concentration=draws.uniform(0.0, 0.5), e1=e1, e2=e2, **parts, **middle)


def _merger(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws) -> None:
    """Add a second galaxy beside the red one, and a tail."""
    mag, r, angle = draws.uniform(18.8, 21.8), draws.uniform(0.7, 2.6), ANGLE.draw(draws)
    x, y = middle["center_x"] + r * np.cos(angle), middle["center_y"] + r * np.sin(angle)
    e1, e2 = shape(draws, Uniform(0.0, 0.4))
    other = {"R_sersic": draws.uniform(0.3, 0.9), "n_sersic": draws.uniform(0.8, 3.5), "e1": e1, "e2": e2}
    sky.add(SersicEllipse, where, any_colour(draws, mag, 0.4, 2.6), center_x=x, center_y=y, **other)
    tail = {"radius": draws.uniform(1.0, 3.0), "sigma": draws.uniform(0.2, 0.5), "concentration": draws.uniform(1.0, 4.0)}
    tail |= {"phase": ANGLE.draw(draws)} | dict(zip(("e1", "e2"), shape(draws, Uniform(0.0, 0.4)), strict=True))
    sky.add(Ring, where & (draws.random() < 0.6), any_colour(draws, draws.uniform(21.0, 23.0), 0.3, 1.8), **tail, **middle)


def _satellites(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws, difficulty: float, most: int = 4) -> None:
    """Add one to four blue companions about the red galaxy."""
    there = np.arange(most) < draws.uniform(1.0, most + 0.999)[:, None].astype(int)
    r, angle = draws.uniform(0.8, 3.2, most), ANGLE.draw(draws, most)
    along = draws.random(most) < (1 - difficulty) * TANGENTIAL[0] + difficulty * TANGENTIAL[1]
    e = draws.uniform(0.0, 0.6, most)
    direction = 2 * np.where(along, angle + np.pi / 2, ANGLE.draw(draws, most))
    x, y = middle["center_x"][:, None] + r * np.cos(angle), middle["center_y"][:, None] + r * np.sin(angle)
    gi = np.clip(draws.uniform(0.0, 1.1)[:, None] + draws.normal(0.0, 0.15, most), -0.2, None)
    mag = in_bands(draws.uniform(21.3, 23.6, most), gi, 0.4 * gi)
    parts = {"R_sersic": draws.uniform(0.12, 0.45, most), "n_sersic": draws.uniform(0.7, 1.6, most)}
    parts |= {"e1": e * np.cos(direction), "e2": e * np.sin(direction), "center_x": x, "center_y": y}
    sky.add(SersicEllipse, where[:, None] & there, mag, **parts)


def _tidal(draws: RowDraws, sky: SkyBuilder, where: np.ndarray, middle: Draws) -> None:
    """Add a blue arc on one side of the red galaxy."""
    parts = {"radius": draws.uniform(1.0, 3.0), "sigma": draws.uniform(0.12, 0.35), "concentration": draws.uniform(1.0, 6.0)}
    parts |= {"phase": ANGLE.draw(draws)} | dict(zip(("e1", "e2"), shape(draws, Uniform(0.0, 0.35)), strict=True))
    sky.add(Ring, where, blue(draws, draws.uniform(21.0, 23.2)), **parts, **middle)


def _trail(draws: RowDraws, sky: SkyBuilder, where: np.ndarray) -> None:
    """Add a straight trail through the cutout, mostly in one band alone."""
    band, alone = draws.choice(np.ones(3)), draws.random() < 0.8
    angle, off = ANGLE.draw(draws), draws.uniform(-4.0, 4.0)
    mag = draws.uniform(16.5, 20.0)[:, None] + np.where((np.arange(3) == band[:, None]) | ~alone[:, None], 0.0, np.inf)
    line = {"R_sersic": np.full(len(band), 1.6), "n_sersic": np.full(len(band), 0.5)}
    line |= {"e1": 0.985 * np.cos(2 * angle), "e2": 0.985 * np.sin(2 * angle)}
    sky.add(SersicEllipse, where, mag, center_x=-off * np.sin(angle), center_y=off * np.cos(angle), **line)


def neighbours(draws: RowDraws, sky: SkyBuilder, n: int, most: int = 9) -> None:
    """Add galaxies and stars that happen to stand in the cutout, the same for all classes; n is the number of systems."""
    there = np.arange(most) < draws.poisson(3.0, most)[:, None]
    faintest, range_ = 25.3, 5.3
    least = 10.0 ** (-0.3 * range_)
    mag = faintest + np.log10(least + (1 - least) * draws.random(most)) / 0.3  # counts go as 10^(0.3 m)
    e1, e2 = shape(draws, Uniform(0.0, 0.5), most)
    radius = 0.38 * 10 ** (-0.15 * (mag - 23.0)) * np.exp(draws.normal(0.0, 0.3, most))
    place = {c: draws.uniform(-HALF_FIELD, HALF_FIELD, most) for c in ("center_x", "center_y")}
    parts = {"R_sersic": radius, "n_sersic": draws.uniform(0.7, 3.0, most), "e1": e1, "e2": e2}
    sky.add(SersicEllipse, there, any_colour(draws, mag, 0.1, 2.5), **parts, **place)
    stars = np.arange(2) < draws.poisson(0.2, 2)[:, None]
    mag = draws.uniform(18.5, 24.0, 2)
    x, y = (draws.uniform(-HALF_FIELD, HALF_FIELD, 2) for _ in "xy")
    sky.add(Stars, stars, any_colour(draws, mag, 0.4, 2.8), x=x, y=y)
