"""What a pixel's variance is: `variance = v0 + v1 flux`, flux without the sky.

The variance follows the model, not the noisy pixel: weights from the data would pull every fit low.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError
from darklens.simulate import Instrument

MAX_COUNTS = 100_000
"""Steps between the minimum and the maximum of a min-max scaled image up to which its counts are looked for."""


@dataclass(frozen=True)
class Noise(ABC):
    """A noise model; `variance` returns `v0` of the shape of the images and `v1` of shape `(N,)`."""

    @abstractmethod
    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `v0 (N, H, W)` and `v1 (N,)` for images `(N, H, W)`, in float64."""


@dataclass(frozen=True)
class SkyCounts(Noise):
    """Poisson counts over a flat sky, min-max scaled image by image: the counts a unit stands for are read off the image itself.

    Args:
        sky: counts a pixel.
    """

    sky: float

    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the variances; an image whose counts cannot be recovered is scaled by the scatter of its corners."""
        scale = np.array([counts_per_unit(image) or self._from_corners(image) for image in images])
        return np.broadcast_to((self.sky / scale**2)[:, None, None], images.shape).copy(), 1 / scale

    def _from_corners(self, image: np.ndarray) -> float:
        return float(np.sqrt(self.sky) / max(background_sigma(image), 1e-12))


@dataclass(frozen=True)
class Linear(Noise):
    """Poisson noise of source and sky and read noise, images in e-/s with the sky subtracted.

    Args:
        background_sigma: standard deviation of an empty pixel.
        exposure: seconds (electrons that a unit of the image stands for).
    """

    background_sigma: float
    exposure: float

    @classmethod
    def of(cls, instrument: Instrument) -> Linear:
        """Return the noise of an instrument."""
        return cls(instrument.background_sigma, instrument.total_exposure)

    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the variances."""
        return np.full(images.shape, self.background_sigma**2), np.full(len(images), 1 / self.exposure)


@dataclass(frozen=True)
class NoiseMap(Noise):
    """A standard deviation for every pixel, as observatories deliver them.

    Args:
        sigma: `(H, W)` or `(N, H, W)`, in the unit of the images; not positive or not finite where a pixel is masked.
    """

    sigma: np.ndarray

    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the variances.

        Raises:
            InputError: the map does not fit the images.
        """
        sigma = np.asarray(self.sigma, dtype=np.float64)
        if sigma.shape not in (images.shape, images.shape[1:]):
            raise InputError(f"noise map of shape {sigma.shape} for images of shape {images.shape[1:]}: give one of the same size")
        good = np.isfinite(sigma) & (sigma > 0)
        return np.broadcast_to(np.where(good, np.where(good, sigma, 1.0) ** 2, -1.0), images.shape).copy(), np.zeros(len(images))


@dataclass(frozen=True)
class Floor(Noise):
    """For images without noise: sigma is a fraction of the image's brightest pixel, so that residuals have a stated unit.

    Args:
        fraction: of the brightest pixel.
    """

    fraction: float = 1e-3

    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the variances."""
        peak = np.abs(images).max((1, 2), keepdims=True).astype(np.float64)
        return np.broadcast_to((self.fraction * np.maximum(peak, 1e-30)) ** 2, images.shape).copy(), np.zeros(len(images))


@dataclass(frozen=True)
class Estimated(Noise):
    """For images of unknown origin: background scatter from the image, and Poisson noise with a known number of counts a unit.

    Args:
        counts_per_unit: electrons that a unit of the image stands for; None leaves the Poisson noise of the source out.
        excess: variance over mean of the source's counts, 1 for Poisson; 2 where noise was drawn twice (Model I).
    """

    counts_per_unit: float | None = None
    excess: float = 1.0

    def variance(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the variances."""
        least = 1 / (12**0.5 * self.counts_per_unit) if self.counts_per_unit else 1e-12  # of whole counts: they are rounded
        v0 = np.array([max(background_sigma(image), least) ** 2 for image in images])
        v1 = self.excess / self.counts_per_unit if self.counts_per_unit else 0.0
        return np.broadcast_to(v0[:, None, None], images.shape).copy(), np.full(len(images), v1)


def background_sigma(image: np.ndarray) -> float:
    """Return the scatter of the four corners, robustly: 1.4826 times the median deviation.

    Where more than half of the pixels have one value, as a few whole counts may, that is zero: then it is the standard deviation.
    """
    values = corners(image)
    if not len(values):
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))) or np.std(values))


def corners(image: np.ndarray) -> np.ndarray:
    """Return the finite pixels of the four corners, a tenth of the side each."""
    h, w = (max(2, n // 10) for n in image.shape)
    values = np.concatenate(
        [image[rows, columns].ravel() for rows in (slice(h), slice(-h, None)) for columns in (slice(w), slice(-w, None))]
    )
    return values[np.isfinite(values)]


def counts_per_unit(image: np.ndarray) -> float | None:
    """Return R if the values of an image are k/R with integers k, as in min-max scaled counts; None if they are not.

    The smallest step between values is 1/R or a small multiple of it. Single steps of a bright image are known to one part in
    some thousand only, as float32 rounds its values, so the mean of all the smallest ones is taken.
    """
    values = np.unique(image[np.isfinite(image)].astype(np.float64))
    span = values[-1] - values[0] if len(values) > 1 else 0.0
    if span <= 0:
        return None
    steps = np.diff(values)
    tolerance = 1e-5 * span  # of float32 copies
    smallest = steps[steps > tolerance]
    if not len(smallest):
        return None
    step = smallest[smallest < 1.5 * smallest.min()].mean()
    for divisor in (1, 2, 3):
        total = round(span / step * divisor)
        if not 1 <= total <= MAX_COUNTS or total * tolerance > 0.3:
            return None
        k = (values - values[0]) * (total / span)
        if np.abs(k - np.round(k)).max() < 0.02:
            return total / span
    return None
