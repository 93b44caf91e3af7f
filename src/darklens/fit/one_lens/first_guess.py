"""Where to begin: the radius of the ring, the pixels to fit, and starting values of all parameters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import numpy as np
from scipy import ndimage

from darklens.errors import InputError
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.positions import Positions

SECTORS = 16
CLIPPED = 30.0
"""Standard deviations above which a pixel says no more about where the arc is."""
RADII = (1.0, 0.88, 1.14, 0.94, 1.07)
"""Einstein radii of the first starts, in units of the guess; the others are drawn."""
POOL = 80
"""Starts that are drawn for each that is wanted, where positions say which are worth a descent."""
INNER, OUTER = 0.5, 1.5
"""Edges of the pixels that are fitted, in units of the ring's radius, where nothing else is said."""


def ring_radius(observation: Observation, centre: tuple[float, float]) -> float:
    """Return the Einstein radius that the arcs suggest, arcsec.

    The lens galaxy is taken off circle by circle (`without_galaxy`). In each sector the arc is where the rest is brightest. A
    source at beta has images at theta_E + beta and theta_E - beta on opposite sides, so that the mean over opposite sectors is
    theta_E; pairs count by the significance of their fainter side.

    Raises:
        InputError: nothing stands out.
    """
    x, y = (c - o for c, o in zip(observation.coordinates(), centre, strict=True))
    ring = np.round(np.hypot(x, y) / observation.pixel_scale).astype(int)
    angle = np.arctan2(y, x)
    sector = ((angle / (2 * np.pi)) % 1 * SECTORS).astype(int) % SECTORS
    first, last = max(3, round(2 * core(observation.kernel))), int(0.48 * min(observation.shape))
    counted = observation.mask & (ring >= first) & (ring < last)
    excess = np.clip(without_galaxy(observation, ring, angle, first, last)[counted] / observation.noise[counted], 0, CLIPPED)
    place = sector[counted] * last + ring[counted]
    total = np.bincount(place, excess, SECTORS * last).reshape(SECTORS, last)
    pixels = np.bincount(place, minlength=SECTORS * last).reshape(SECTORS, last)
    total, pixels = (ndimage.gaussian_filter1d(a.astype(float), 1.5, axis=1) for a in (total, pixels))
    mean = total / np.maximum(pixels, 0.5)
    radius, height = mean.argmax(1) * observation.pixel_scale, mean.max(1)
    half = SECTORS // 2
    weight = np.minimum(height[:half], height[half:]) ** 2
    if not weight.max() > 1:
        raise InputError(
            "no arc stands out of the noise about the middle: say how large the ring is with --theta-e and where the lens is with "
            "--centre, in arcsec, or check the image"
        )
    return float((weight * 0.5 * (radius[:half] + radius[half:])).sum() / weight.sum())


def without_galaxy(observation: Observation, ring: np.ndarray, angle: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the image less a galaxy of elliptical isophotes, `(H, W)`.

    On each circle the galaxy is `a + b cos 2phi + c sin 2phi`, fitted without the pixels that stand above it; a must not grow
    outwards, so that a complete ring is not taken for the galaxy.

    Args:
        observation: the image.
        ring: `(H, W)` radius in whole pixels.
        angle: `(H, W)` about the centre.
        first: innermost circle.
        last: one beyond the outermost.
    """
    galaxy, before = np.zeros(observation.shape), np.inf
    for k in range(first, last):
        there = (ring == k) & observation.mask
        if there.sum() < 6:
            continue
        design = np.stack([np.ones(there.sum()), np.cos(2 * angle[there]), np.sin(2 * angle[there])], 1)
        value, noise = observation.image[there], observation.noise[there]
        kept = value <= np.percentile(value, 75)
        for _ in range(5):
            fitted = design @ np.linalg.lstsq(design[kept], value[kept], rcond=None)[0]
            scatter = max(float(np.std((value - fitted)[kept])), float(np.median(noise)))
            kept = value < fitted + 1.5 * scatter
        level = min(before, float(fitted.mean()))
        galaxy[there], before = fitted - fitted.mean() + level, level
    return observation.image - galaxy


def core(kernel: np.ndarray) -> float:
    """Return the full width at half maximum of a PSF in pixels, taken for round."""
    return float(2 * ((kernel > 0.5 * kernel.max()).sum() / np.pi) ** 0.5)


def annulus(observation: Observation, centre: tuple[float, float], inner: float, outer: float) -> np.ndarray:
    """Return the pixels between two radii about the centre, `(H, W)`."""
    x, y = observation.coordinates()
    r = np.hypot(x - centre[0], y - centre[1])
    return (r >= inner) & (r <= outer)


def starting_values(
    names: tuple[str, ...], theta_E: float, centre: tuple[float, float], generator: np.random.Generator, spread: float
) -> np.ndarray:
    """Return a start `(p,)`: a round isothermal lens about the centre, moved at random.

    Args:
        names: of the parameters.
        theta_E: guess of the Einstein radius, arcsec.
        centre: of the lens, arcsec.
        generator: for the random part.
        spread: of the random part; zero for none. Ellipticities and shears move by a tenth of it, the Einstein radius by a fifth.
    """
    found = []
    for name in names:
        tail = name.rpartition("_")[2] if name not in ("theta_E", "center_x", "center_y") else name
        move = spread * float(generator.standard_normal())
        if name == "theta_E":
            found.append(theta_E * float(np.exp(0.2 * move)))
        elif name in ("center_x", "light_x"):
            found.append(centre[0])
        elif name in ("center_y", "light_y"):
            found.append(centre[1])
        elif name.startswith("source") and tail in ("x", "y"):
            found.append(centre[0 if tail == "x" else 1] + 0.15 * theta_E * move)
        elif name.endswith("R_sersic"):
            found.append((0.15 if name.startswith("source") else 0.6) * theta_E * float(np.exp(0.3 * move)))
        elif name.endswith("n_sersic"):
            found.append(1.0 if name.startswith("source") else (4.0 if name == "light_n_sersic" else 1.5))
        elif name == "gamma":
            found.append(2.0)
        elif name.startswith(("a3", "a4")):
            found.append(0.0)
        else:
            found.append(0.1 * move)
    return np.array(found)


def starting_points(names: tuple[str, ...], theta_E: float, centre: tuple[float, float], seed: int) -> Iterator[np.ndarray]:
    """Yield starts without end: round lenses whose Einstein radii are `RADII` times the guess, then random ones about it."""
    generator = np.random.default_rng(seed)
    for number in count():
        first = number < len(RADII)
        yield starting_values(names, theta_E * RADII[number] if first else theta_E, centre, generator, 0.0 if first else 1.0)


def starts_for(
    model: Model, theta_E: float, centre: tuple[float, float], number: int, seed: int, positions: Positions | None
) -> list[np.ndarray]:
    """Return the parameters of the starts, each `(p,)`.

    With positions these are the first that bring the images of each source together; fewer than `number` where few do.

    Raises:
        InputError: none does.
    """
    points = (_about_points(model, eta) for eta in starting_points(model.names, theta_E, centre, seed))
    if positions is None:
        return list(islice(points, number))
    low, high = model.bounds
    pool = np.clip(list(islice(points, POOL * number)), low, high)
    scatter = positions.scatter(*model.traced(model.named(pool), *positions.images))[:, 0]
    near = np.flatnonzero(scatter.numpy() <= positions.allowed(theta_E))
    if not len(near):
        suggested, limit = positions.radius(centre), positions.allowed(theta_E)
        hint = "" if suggested is None else f", start at half their separation with --theta-e {suggested:.2f}"
        raise InputError(
            f'no lens with theta_E near {theta_E:.2f}" brings the positions within {limit:.3g}" of each other in the source plane, '
            f'the nearest one {float(scatter.min()):.3g}": check that they are images of one point{hint}, or raise '
            "--position-tolerance"
        )
    return list(pool[near[:number]])


def _about_points(model: Model, eta: np.ndarray) -> np.ndarray:
    """Return a start with point images where they were located, and a smooth source where they come together."""
    if model.points is None:
        return eta
    x, y = model.points.seen.offsets(model.masses(model.named(eta)))[1][0].tolist()
    known = model.points.start | {"source_x": x, "source_y": y}
    return np.array([known.get(name, value) for name, value in zip(model.names, eta, strict=True)])
