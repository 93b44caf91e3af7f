"""From the flux that reaches the detector to the numbers in the file.

Each class is one way of recording images: true Poisson counts where there are counts. `record` takes the flux of a batch and
the keys of its rows, so that noise is a function of `(seed, row)` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError
from darklens.simulate.instruments import Instrument
from darklens.simulate.rng import draw_exposure, draw_twice, row_generator, row_keys

Truth = dict[str, np.ndarray]


class Recording(ABC):
    """How an instrument turns flux into an image."""

    unit: str = "e-/s"
    truth_columns: tuple[str, ...] = ()

    @abstractmethod
    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
        """Record images.

        Args:
            flux: `(B, H, W)` float, e-/s per pixel from the scene alone.
            instrument: the camera.
            seed: seed of the table.
            rows: B row indices.
            stream: what the random numbers are for; each band has its own.

        Returns:
            The images `(B, H, W)` and further truth columns, `(B,)` each (for example the exposure time).
        """


@dataclass(frozen=True)
class Exposure(Recording):
    """The instrument's noise, really added: Poisson counts of source and sky, Gaussian read noise, sky subtracted, in e-/s."""

    truth_columns = ("exposure",)

    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
        """Record sky-subtracted images in e-/s."""
        t, sky = instrument.total_exposure, instrument.sky_per_pixel
        read_noise = instrument.read_noise * instrument.n_exposures**0.5
        return draw_exposure(row_keys(seed, rows, stream), flux, t, sky, read_noise), {"exposure": np.full(len(flux), t)}


@dataclass(frozen=True)
class NoiseFree(Recording):
    """The flux itself, times a factor.

    `factor=2` is DeepLenseSim's Models II and III (defect 4): the image is added to itself where noise was meant.
    """

    factor: float = 1.0

    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
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

    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
        """Record images in counts."""
        t = np.array([10.0 ** row_generator(seed, row, f"{stream} exposure").uniform(*self.log10_exposure) for row in rows])
        return draw_twice(row_keys(seed, rows, stream), flux, t, self.background_rms), {"exposure": t}


@dataclass(frozen=True)
class SkyCountsMinMax(Recording):
    """Poisson counts over a flat sky, then the image scaled to between 0 and 1 by its own extremes ("common test")."""

    sky: float = 10.0
    unit = "min-max"

    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
        """Record min-max scaled images."""
        counts = draw_exposure(row_keys(seed, rows, stream), flux, 1.0, self.sky, 0.0)  # less the sky, which the scale takes out
        low, high = counts.min((1, 2), keepdims=True), counts.max((1, 2), keepdims=True)
        if (low == high).any():
            flat = low[low == high][0] + self.sky
            raise InputError(f"image without contrast (every pixel {flat}): a min-max scale needs some; raise the flux")
        counts -= low
        counts /= high - low
        return counts, {}
