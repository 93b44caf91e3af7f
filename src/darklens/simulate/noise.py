"""From the flux that reaches the detector to the numbers in the file.

Each class is one way of recording an image: true Poisson counts where there are counts. `record` takes the flux of a row
`(H, W)` per pixel and the row's own generator, so that noise is a function of `(seed, row)` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError
from darklens.simulate.instruments import Instrument


class Recording(ABC):
    """How an instrument turns flux into an image."""

    unit: str = "e-/s"
    truth_columns: tuple[str, ...] = ()

    @abstractmethod
    def record(self, flux: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Record one image.

        Args:
            flux: `(H, W)` float, e-/s per pixel from the scene alone.
            instrument: the camera.
            rng: the row's generator.

        Returns:
            The image `(H, W)` and further truth of the row (for example its exposure time).
        """


@dataclass(frozen=True)
class Exposure(Recording):
    """The instrument's noise, really added: Poisson counts of source and sky, Gaussian read noise, sky subtracted, in e-/s."""

    truth_columns = ("exposure",)

    def record(self, flux: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Record one sky-subtracted image in e-/s."""
        t, sky = instrument.total_exposure, instrument.sky_per_pixel
        counts = rng.poisson((flux + sky) * t) + rng.normal(0.0, instrument.read_noise * instrument.n_exposures**0.5, flux.shape)
        return counts / t - sky, {"exposure": t}


@dataclass(frozen=True)
class NoiseFree(Recording):
    """The flux itself, times a factor.

    `factor=2` is DeepLenseSim's Models II and III (defect 4): the image is added to itself where noise was meant.
    """

    factor: float = 1.0

    def record(self, flux: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Return the flux times the factor."""
        return flux * self.factor, {}


@dataclass(frozen=True)
class DeepLenseSimCounts(Recording):
    """Model I of DeepLenseSim: counts of a random exposure, with Poisson noise drawn twice (defect 4).

    `counts = Poisson(t (I + N(0, sqrt(I/t)) + N(0, 0.01)))`, negative values clipped, `t = 10^U(3, 3.5)`.
    """

    background_rms: float = 0.01
    log10_exposure: tuple[float, float] = (3.0, 3.5)
    unit = "counts"
    truth_columns = ("exposure",)

    def record(self, flux: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Record one image in counts."""
        t = 10.0 ** rng.uniform(*self.log10_exposure)
        poisson = rng.standard_normal(flux.shape) * np.sqrt(np.maximum(flux, 0.0) / t)
        background = rng.standard_normal(flux.shape) * self.background_rms
        return rng.poisson(np.clip(t * (flux + poisson + background), 0.0, None)), {"exposure": t}


@dataclass(frozen=True)
class SkyCountsMinMax(Recording):
    """Poisson counts over a flat sky, then the image scaled to between 0 and 1 by its own extremes ("common test")."""

    sky: float = 10.0
    unit = "min-max"

    def record(self, flux: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Record one min-max scaled image."""
        counts = rng.poisson(flux + self.sky)
        low, high = counts.min(), counts.max()
        if low == high:
            raise InputError(f"image without contrast (every pixel {low}): a min-max scale needs some; raise the flux")
        return (counts - low) / (high - low), {}
