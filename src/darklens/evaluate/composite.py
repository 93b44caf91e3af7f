"""Pixels to pictures: one band through an asinh stretch, three as a colour composite (Lupton et al. 2004, PASP 116, 133).

The stretch is that of each image: `f(I) = asinh(I/s) / asinh(1/s)` of the light above the sky in units of its 99.7th percentile in
the middle (a bright star beside a candidate does not count), with the softening s at three times the noise, so that faint arcs come
up beside a bright galaxy and noise stays dark; or linear; or the logarithm of DS9, `log(1 + 1000 I) / log(1001)`. The colours are
those of the whole list: one factor a band, so that a blue arc is as blue on every tile; where the light is no more than noise they
fade.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darklens.errors import InputError, unknown
from darklens.evaluate.image_statistics import pixel_noise, sky

SOFTENING = (0.005, 0.3)
"""Limits of the softening, in units of the bright end."""
STRETCHES = {
    "asinh": lambda light, softening: np.arcsinh(light / softening) / np.arcsinh(1 / softening),
    "log": lambda light, softening: np.log1p(1000 * light) / np.log1p(1000),
    "linear": lambda light, softening: light,
}
"""How bright light is shown that is 1 at the bright end."""
FADING = 2.0
"""Standard deviations of the noise at which a colour is at half its strength."""


def bands_for_colour(bands: Sequence[str | int] | None, names: Sequence[str] | None, count: int) -> tuple[int, int, int] | None:
    """Return which bands are red, green and blue, None for fewer than three bands.

    Args:
        bands: three names or numbers from 0, red first; by default the last, the middle and the first.
        names: what the bands of the images are called, where that is known.
        count: how many there are.

    Raises:
        InputError: not three of them, or one that the images lack.
    """
    if bands is None:
        return (count - 1, count // 2, 0) if count >= 3 else None
    if len(bands) != 3:
        raise InputError(f"--bands {','.join(map(str, bands))} are {len(bands)} bands: give three, red first, as in i,r,g")
    numbers = [str(i) for i in range(count)]
    found = []
    for band in map(str, bands):
        if names is not None and band in names:
            found.append(list(names).index(band))
        elif band in numbers:
            found.append(int(band))
        else:
            raise unknown("band", band, [*(names or ()), *numbers])
    red, green, blue = found
    return red, green, blue


def white_balance(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return factors `(bands,)` that make the typical bright light of a list of images `(bands, H, W)` white."""
    light = np.array([np.percentile(image, 99.5, axis=(1, 2)) - sky(image) for image in images])
    typical = np.median(light, axis=0)
    return 1 / np.where(typical > 0, typical, typical.max(initial=0) or 1.0)


def grey(image: np.ndarray, stretch: str = "asinh") -> np.ndarray:
    """Return one band `(H, W)` as a picture `(H, W, 3)` in 0 to 1, with one of `STRETCHES`."""
    return np.repeat(_stretched(*_above_sky(image[None]), stretch)[0][..., None], 3, axis=-1)


def colour(image: np.ndarray, balance: np.ndarray | None = None, stretch: str = "asinh") -> np.ndarray:
    """Return a picture `(H, W, 3)` in 0 to 1 of three bands `(3, H, W)`, red first, times their factors.

    One stretch of the mean acts on all three: hues stay what they are, also where it is bright (Lupton et al. 2004, eq. 2).
    """
    image = image * (np.ones(3) if balance is None else balance)[:, None, None]
    bands, noise = _above_sky(image)
    mean = bands.mean(0, keepdims=True)
    shown = _stretched(mean, noise / np.sqrt(3), stretch)
    light = np.clip(mean, 0, None)
    certain = light**2 / (light**2 + (FADING * noise) ** 2 + 1e-30)
    pixels = np.clip(mean + certain * (bands - mean), 0, None) * shown / np.maximum(mean, 1e-12)
    pixels /= np.maximum(pixels.max(0), 1)  # too bright for the screen: darker, of the same hue
    return np.moveaxis(np.clip(pixels, 0, 1), 0, -1)


def pictures(images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Return images `(bands, H, W)` as they can be shown: three bands or more in colour `(H, W, 3)`, else the first band `(H, W)`.

    Those of the same number of bands share a white balance; red is the last band, green the middle one, blue the first.
    """
    chosen = [bands_for_colour(None, None, len(image)) for image in images]
    pairs = list(zip(images, chosen, strict=True))
    alike = {rgb: [image[list(rgb)] for image, other in pairs if other == rgb] for rgb in chosen if rgb is not None}
    balance = {rgb: white_balance(group) for rgb, group in alike.items()}
    return [image[0] if rgb is None else colour(image[list(rgb)], balance[rgb]) for image, rgb in pairs]


def _above_sky(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Return bands `(b, H, W)` above a level just below the sky, in units of the bright end of their mean, and the noise."""
    noise = pixel_noise(image)
    bands = image - (sky(image) - noise)[:, None, None]
    height, width = image.shape[1:]
    middle = bands.mean(0)[height // 4 : height - height // 4, width // 4 : width - width // 4]
    bright = float(np.percentile(middle, 99.7))
    bright = bright if bright > 0 else 1.0
    return bands / bright, float(np.sqrt(np.mean(noise**2))) / bright


def _stretched(light: np.ndarray, noise: float, stretch: str) -> np.ndarray:
    softening = np.clip(3 * noise, *SOFTENING)
    return np.clip(STRETCHES[stretch](np.clip(light, 0, None), softening), 0, 1)
