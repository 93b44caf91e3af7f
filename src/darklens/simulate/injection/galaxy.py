"""What a real galaxy looks like on its cutout: noise of the background, position, shape, flux, half-light radius.

Everything is robust against neighbours: noise from the border's median deviation, shape from adaptive Gaussian moments
(Bernstein & Jarvis 2002, AJ 123, 583), flux from the medians of rings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darklens.simulate.injection.camera import Camera
from darklens.units import FWHM_PER_SIGMA

MAD = 1.4826
"""Standard deviation of a Gaussian in units of its median absolute deviation."""
BORDER = 8
"""The border is an eighth of the cutout wide on every side."""
ITERATIONS = 60
WINDOW = 61
"""Pixels of a side within which moments are taken."""
OFF_CENTRE = 0.05
"""How far from the middle a galaxy may lie, in sides of the cutout."""
MAX_E = 0.5
"""Largest ellipticity that moments are believed."""


@dataclass(frozen=True, eq=False)
class Galaxy:
    """A galaxy on its cutout.

    Args:
        sigma: `(bands,)` standard deviation of the background, in units of the image.
        sky: `(bands,)` median of the border.
        flux: `(bands,)` within the radius at which the light is lost in the noise, NaN where it is not positive.
        center_x: arcsec from the middle of the cutout.
        center_y: arcsec.
        e1: ellipticity of the light, the PSF's part taken out.
        e2: second component.
        radius: of half the light in the reference band, arcsec.
        snr: of the light in the reference band.
    """

    sigma: np.ndarray
    sky: np.ndarray
    flux: np.ndarray
    center_x: float
    center_y: float
    e1: float
    e2: float
    radius: float
    snr: float


def measure_galaxy(image: np.ndarray, camera: Camera) -> Galaxy:
    """Measure the galaxy in the middle of a cutout.

    Args:
        image: `(bands, y, x)`.
        camera: what took it.

    Returns:
        Its measures; where no galaxy stands in the middle, a round one there, of NaN flux where none is positive.
    """
    sky, sigma = background(image)
    light = image - sky[:, None, None]
    weight = 1.0 / sigma**2
    together = np.tensordot(weight, light, 1) / weight.sum()  # the weights of the best S/N of a grey object
    x, y, (qxx, qxy, qyy) = adaptive_moments(together, start=1.5 * camera.seeing / FWHM_PER_SIGMA / camera.pixel_scale)
    psf = (camera.seeing / FWHM_PER_SIGMA / camera.pixel_scale) ** 2
    e1, e2 = _ellipticity(qxx - psf, qxy, qyy - psf)
    flux, radius, snr = _growth(light, sigma, x, y, camera.reference)
    middle = [(n - 1) / 2 for n in image.shape[1:]]
    scale = camera.pixel_scale
    return Galaxy(sigma, sky, flux, (x - middle[1]) * scale, (y - middle[0]) * scale, e1, e2, radius * scale, snr)


def background(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return median and standard deviation (from the median absolute deviation) of each band's border, both `(bands,)`.

    A border without scatter has the smallest positive standard deviation that float32 divides by.
    """
    wide = [max(2, n // BORDER) for n in image.shape[1:]]
    inner = np.zeros(image.shape[1:], bool)
    inner[wide[0] : -wide[0], wide[1] : -wide[1]] = True
    border = image[:, ~inner].astype(np.float64)
    median = np.median(border, axis=1)
    spread = MAD * np.median(np.abs(border - median[:, None]), axis=1)
    return median, np.maximum(spread, np.finfo(np.float32).tiny)


def adaptive_moments(light: np.ndarray, start: float) -> tuple[float, float, tuple[float, float, float]]:
    """Return centre (x, y, pixels) and second moments (xx, xy, yy, square pixels) under a Gaussian weight that matches them.

    The product of a Gaussian and its own weight has half its moments, so the matching weight has twice the weighted moments.
    """
    first = [max(0, (n - WINDOW) // 2) for n in light.shape]
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    y0, x0 = ((n - 1) / 2 for n in light.shape)
    inner = tuple(slice(f, n - f) for f, n in zip(first, light.shape, strict=True))
    size, light, rows, columns = light.shape, light[inner], rows[inner], columns[inner]
    cx, cy, q = x0, y0, np.eye(2) * start**2
    reach = 0.25 * min(size)
    for _ in range(ITERATIONS):
        inverse = np.linalg.inv(q)
        dx, dy = columns - cx, rows - cy
        weighted = light * np.exp(-0.5 * (inverse[0, 0] * dx * dx + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy))
        total = weighted.sum()
        if not total > 0:
            break
        step_x, step_y = (weighted * dx).sum() / total, (weighted * dy).sum() / total
        cross = (weighted * dx * dy).sum()
        measured = np.array([[(weighted * dx * dx).sum(), cross], [cross, (weighted * dy * dy).sum()]]) / total
        new = 2 * measured
        if not _usable(new, reach) or math.hypot(cx + step_x - x0, cy + step_y - y0) > OFF_CENTRE * min(size):
            break
        cx, cy = cx + step_x, cy + step_y
        done = np.abs(new - q).max() < 1e-4 * q.max()
        q = new
        if done:
            break
    return float(cx), float(cy), (float(q[0, 0]), float(q[0, 1]), float(q[1, 1]))


def _usable(q: np.ndarray, reach: float) -> bool:
    return bool(np.isfinite(q).all() and q[0, 0] > 0.1 and np.linalg.det(q) > 0.05 and np.trace(q) < 2 * reach**2)


def _ellipticity(qxx: float, qxy: float, qyy: float) -> tuple[float, float]:
    """Return `e = (1-q)/(1+q)` in its two components: `(Qxx - Qyy + 2i Qxy) / (Qxx + Qyy + 2 sqrt(det))`."""
    trace, determinant = qxx + qyy, qxx * qyy - qxy**2
    if trace <= 0 or determinant <= 0:
        return 0.0, 0.0  # not larger than the PSF
    below = trace + 2 * math.sqrt(determinant)
    e1, e2 = (qxx - qyy) / below, 2 * qxy / below
    shrink = min(1.0, MAX_E / max(math.hypot(e1, e2), 1e-12))
    return e1 * shrink, e2 * shrink


def _growth(light: np.ndarray, sigma: np.ndarray, x: float, y: float, reference: int) -> tuple[np.ndarray, float, float]:
    """Return flux of each band, half-light radius in pixels and S/N, from the medians of rings one pixel wide."""
    rows, columns = np.mgrid[: light.shape[1], : light.shape[2]]
    ring = np.hypot(columns - x, rows - y).astype(int)  # the innermost is a disc, so that none is empty
    last = int(min(light.shape[1:]) / 2)
    area = np.bincount(ring.ravel(), minlength=last)[:last]
    profile = np.array([np.median(light[:, ring == r], axis=1) for r in range(last)])
    lost = profile[:, reference] < 0.3 * sigma[reference]
    edge = max(3, int(np.argmax(lost)) if lost.any() else last)
    grown = np.cumsum(profile[:edge] * area[:edge, None], axis=0)
    total = grown[-1]
    flux = np.where(total > 0, total, np.nan)
    half = float(np.interp(0.5 * total[reference], np.maximum.accumulate(grown[:, reference]), np.arange(1.0, edge + 1)))
    snr = float(total[reference] / (sigma[reference] * math.sqrt(area[:edge].sum())))
    return flux, half, snr
