"""Where the point images of a lens are: as given, or found as what looks most like the PSF."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares

from darklens.errors import InputError
from darklens.fit.one_lens.first_guess import core
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.fit.one_lens.points import REACH, SIGMA, Points, check_error, psf_error
from darklens.fit.one_lens.positions import Positions

AUTO = "auto"
MOST = 8
"""Point images of one lens."""
FAINTEST = 0.1
"""Of the brightest, below which a peak is not taken for another image unless a number is asked for."""
PEAK = 20.0
"""Significance that a peak needs."""
FORM = "'x,y;x,y;...' in arcsec from the middle of the image, a number of images, or auto"


def read_points(given: str | int | list[list[float]] | None) -> str | int | list[list[float]] | None:
    """Read what an option says: positions, a number of them, or auto; what is no text stays as it is.

    Raises:
        InputError: anything else.
    """
    if not isinstance(given, str):
        return given
    text = given.strip()
    if text.lower() == AUTO:
        return AUTO
    if text.isdigit():
        return int(text)
    try:
        found = [[float(number) for number in pair.split(",")] for pair in text.strip(";").split(";")]
    except ValueError:
        found = []
    if not found or any(len(pair) != 2 for pair in found):
        raise InputError(f"point images {text[:60]!r} are none: give {FORM}")
    return found


def locate(
    given: str | int | list[list[float]] | np.ndarray,
    observation: Observation,
    spread: PointSpread,
    centre: tuple[float, float],
    sigma: float | None = None,
    error: float | None = None,
) -> Points:
    """Return the point images, each where the PSF on a smooth background fits best.

    Args:
        given: positions `[[x, y], ...]` in arcsec, how many there are, or "auto".
        observation: the image.
        spread: the PSF.
        centre: of the lens, arcsec, where its galaxy shines.
        sigma: how closely the lens equation holds, arcsec; None takes `SIGMA`.
        error: relative error of the PSF; None measures it.

    Raises:
        InputError: no such images.
    """
    check_error(error)
    if sigma is not None and not 0 < sigma < np.inf:
        raise InputError(f"point sigma {sigma:g}: how closely images have to meet is above 0; give it in arcsec")
    if isinstance(given, str | int | np.integer):
        start = search(observation, spread, centre, None if given == AUTO else int(given))
    else:
        start = Positions.of(given)
    if len(start.groups) > 1 or len(start.x) > MOST:
        raise InputError(f"{len(start.x)} point images of {len(start.groups)} sources: give 2 to {MOST} images of one")
    observation.check_counts(start.x, start.y)
    found = [_placed(x, y, observation, spread) for x, y in zip(start.x.tolist(), start.y.tolist(), strict=True)]
    x, y, flux = (np.array(column) for column in list(zip(*found, strict=True))[:3])
    _check_apart(x, y, flux, start, observation)
    seen = Positions(x, y, np.zeros(len(x), int), sigma or SIGMA)
    parts = (np.concatenate(column) for column in list(zip(*found, strict=True))[3:])
    first = psf_error(*parts) if error is None else error
    return Points(seen, spread, flux, first, error is None, REACH * observation.pixel_scale)


def search(observation: Observation, spread: PointSpread, centre: tuple[float, float], number: int | None) -> Positions:
    """Return the peaks that look most like the PSF, brightest first.

    The core of the PSF less its mean is a filter that sees no smooth light (Stetson 1987, PASP 99, 191). The middle of the lens
    galaxy peaks too, and is left out.

    Args:
        observation: the image.
        spread: the PSF.
        centre: of the lens, arcsec.
        number: of images; None takes all that have a tenth of the brightest one's flux.

    Raises:
        InputError: fewer than wanted, or fewer than two.
    """
    if number is not None and not 2 <= number <= MOST:
        raise InputError(f"{number} point images: a lensed point has 2 to {MOST} of them; give {FORM}")
    width = core(spread.on_pixels)
    flux, significance = _matched(observation, spread.on_pixels, max(2, round(width)))
    apart = max(2, round(width))
    peak = (flux == ndimage.maximum_filter(flux, 2 * apart + 1)) & (significance > PEAK) & observation.mask
    x, y = observation.coordinates()
    peak &= np.hypot(x - centre[0], y - centre[1]) > 1.5 * width * observation.pixel_scale
    order = np.flatnonzero(peak)[np.argsort(-flux[peak])]
    if number is None:
        order = order[flux.flat[order] > FAINTEST * flux.flat[order[:1]].sum()][:4]
    if len(order) < (number or 2):
        raise InputError(
            f"{len(order)} peaks look like the PSF, {number or 2} are needed: say where the images are with --point-images "
            "'x,y;x,y', in arcsec from the middle of the image, or leave that option out"
        )
    order = order[:number]
    return Positions(x.flat[order].copy(), y.flat[order].copy(), np.zeros(len(order), int))


def _matched(observation: Observation, kernel: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the flux of a point at each pixel, and its significance, `(H, W)` each."""
    rows, columns = (slice(max(0, n // 2 - half), n // 2 + half + 1) for n in kernel.shape)
    inner = kernel[rows, columns]
    filtered = inner - inner.mean()
    filtered /= (filtered * inner).sum()
    image = np.where(observation.mask, observation.image, 0.0)
    noise = np.where(observation.mask, observation.noise, 0.0)
    flux = ndimage.correlate(image, filtered, mode="nearest")
    error = np.sqrt(ndimage.correlate(noise**2, filtered**2, mode="nearest"))
    return flux, flux / np.maximum(error, 1e-300)


def _placed(
    x: float, y: float, observation: Observation, spread: PointSpread
) -> tuple[float, float, float, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, flux, and residual, noise and light of the pixels near by: PSF and a parabola, by least squares."""
    (height, width), scale = observation.shape, observation.pixel_scale
    row, column = y / scale + (height - 1) / 2, x / scale + (width - 1) / 2
    half = max(2, round(1.5 * core(spread.on_pixels)))
    top, left = max(0, round(row) - half), max(0, round(column) - half)
    near = np.s_[top : round(row) + half + 1, left : round(column) + half + 1]
    kept = observation.mask[near]
    data, noise = observation.image[near][kept], observation.noise[near][kept]
    rows, columns = np.nonzero(kept)
    v, u = rows + (top - row), columns + (left - column)
    smooth = np.stack([np.ones(len(u)), u, v, u * u, u * v, v * v], 1)

    def fit(move: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        light = spread.at(row + move[1] - top, column + move[0] - left, kept.shape)[kept]
        design = np.column_stack([light, smooth])
        amplitudes = np.linalg.lstsq(design / noise[:, None], data / noise, rcond=None)[0]
        return data - design @ amplitudes, amplitudes, light

    best = least_squares(lambda move: fit(move)[0] / noise, [0.0, 0.0], bounds=(-REACH, REACH)).x
    left_over, amplitudes, light = fit(best)
    return x + best[0] * scale, y + best[1] * scale, float(amplitudes[0]), left_over, noise, amplitudes[0] * light


def _check_apart(x: np.ndarray, y: np.ndarray, flux: np.ndarray, start: Positions, observation: Observation) -> None:
    for k, (a, b, f) in enumerate(zip(x.tolist(), y.tolist(), flux.tolist(), strict=True)):
        if not f > 0:
            raise InputError(
                f'point image {k + 1} at ({start.x[k]:g}", {start.y[k]:g}") has no light of a point: correct it, or leave it out'
            )
        near = [i for i in range(k) if np.hypot(x[i] - a, y[i] - b) < observation.pixel_scale]
        if near:
            raise InputError(f'point images {near[0] + 1} and {k + 1} are the same one at ({a:.3g}", {b:.3g}"): give each once')
