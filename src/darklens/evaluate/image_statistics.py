"""What can be measured of an image without knowing what it shows: light, noise, sky, sharpness, broken pixels.

All of them are per image and band, so that two sets of images can be compared as two samples of numbers.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

STATISTICS = {
    "mean": "mean of all pixels",
    "std": "standard deviation of all pixels",
    "light": "root mean square of the light, without that of the noise",
    "flux": "sum of the light above the background",
    "noise": "noise of a pixel, from differences of neighbours",
    "sky": "median of the outermost pixels",
    "sky_sigma": "the same in units of the noise",
    "width": "FWHM in pixels of a Gaussian as steep as the light is",
    "peak": "99.8th percentile above the background",
    "saturated": "fraction of the pixels that share the largest value",
    "zero": "fraction of the pixels that are exactly zero",
}
"""The statistics, in words."""
FWHM = 2 * np.sqrt(2 * np.log(2))
SMOOTHING = 1.0
"""Standard deviation in pixels of what an image is smoothed with before its light is measured: noise hardly passes, light does."""


def image_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistic -> `(n, bands)` of images `(n, bands, H, W)`, keys as in `STATISTICS`; NaN where one has no meaning.

    `light` and `width` are of the smoothed image, without what white noise adds to its power and to that of its gradient. For a
    Gaussian of standard deviation s, `sum I^2 / sum |grad I|^2 = s^2`: the width grows with the PSF, whatever the light is.
    """
    images = np.asarray(images, dtype=np.float64)
    noise, level = pixel_noise(images), sky(images)
    light = images - level[..., None, None]
    largest, smallest = images.max((2, 3), keepdims=True), images.min((2, 3), keepdims=True)
    size = images.shape[-2] * images.shape[-1]
    shared = (images == largest).sum((2, 3))
    power, steepness = _powers(light, noise)
    return {
        "mean": images.mean((2, 3)),
        "std": images.std((2, 3)),
        "light": np.sqrt(np.where(power > 0, power, np.nan) / size),
        "flux": light.sum((2, 3)),
        "noise": noise,
        "sky": level,
        "sky_sigma": np.divide(level, noise, out=np.full_like(level, np.nan), where=noise > 0),
        "width": _width(power, steepness),
        "peak": np.percentile(light, 99.8, axis=(2, 3)),
        "saturated": np.where((largest == smallest)[..., 0, 0], 1.0, (shared - 1) / size),
        "zero": (images == 0).mean((2, 3)),
    }


def pixel_noise(images: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise of a pixel, `(...)` for images `(..., H, W)`.

    From mixed second differences `I(y,x) - I(y,x+1) - I(y+1,x) + I(y+1,x+1)`, in which smooth light cancels, by their median
    absolute deviation, in which the few places of steep light do not count. Noise that neighbours share is underestimated.
    """
    images = np.asarray(images, dtype=np.float64)
    mixed = np.diff(np.diff(images, axis=-1), axis=-2)
    return 1.482602 / 2 * np.median(np.abs(mixed), axis=(-2, -1))


def sky(images: np.ndarray) -> np.ndarray:
    """Return the median of the outermost tenth of the pixels on each side, `(...)` for images `(..., H, W)`."""
    height, width = images.shape[-2:]
    border = np.ones((height, width), dtype=bool)
    y, x = max(1, height // 10), max(1, width // 10)
    border[y : height - y, x : width - x] = False
    return np.median(np.asarray(images, dtype=np.float64)[..., border], axis=-1)


def _powers(light: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the squares of the smoothed light and of its gradient, `(n, bands)`, without those of white noise."""
    point = np.zeros((33, 33))
    point[16, 16] = 1
    own, kernel = (_squares(gaussian_filter(x, SMOOTHING, axes=(-2, -1))) for x in (light, point))
    pixels = light.shape[-2] * light.shape[-1]
    return own[0] - pixels * kernel[0] * noise**2, own[1] - pixels * kernel[1] * noise**2


def _squares(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (smooth**2).sum((-2, -1)), sum((np.diff(smooth, axis=axis) ** 2).sum((-2, -1)) for axis in (-1, -2))


def _width(power: np.ndarray, steepness: np.ndarray) -> np.ndarray:
    """Return the FWHM of the light in pixels, before the smoothing, `(n, bands)`; NaN where there is too little of it.

    Differences of neighbours are no gradients: for a Gaussian, their power is `4 (1 - exp(-1 / 4 s^2))` of that of the light.
    """
    ratio = np.divide(steepness, power, out=np.full_like(power, np.nan), where=power > 0)
    inside = np.where((ratio > 0) & (ratio < 4), ratio, np.nan)
    square = -1 / (4 * np.log1p(-inside / 4)) - SMOOTHING**2
    return FWHM * np.sqrt(np.where(square > 0, square, np.nan))
