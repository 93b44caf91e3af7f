"""From the flux that reaches the detector to the numbers in the file.

Each class is one way of recording images: true Poisson counts where there are counts. `record` takes the flux of a batch and
the keys of its rows, so that noise is a function of `(seed, row)` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar

import numpy as np

from darklens.errors import InputError
from darklens.simulate.instruments import Instrument
from darklens.simulate.priors import Prior, Uniform
from darklens.simulate.rng import draw_exposure, draw_normals, draw_twice, row_generator, row_keys
from darklens.simulate.row_draws import RowDraws

Truth = dict[str, np.ndarray]


class Recording(ABC):
    """How an instrument turns flux into an image."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every way of recording is a dataclass
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

    def sigma(self, flux: np.ndarray, instrument: Instrument, truth: Truth) -> np.ndarray | None:
        """Return the noise of each pixel `(B, H, W)` in units of the flux; None where there is none, or none of that form.

        Args:
            flux: `(B, H, W)`, as `record` takes it.
            instrument: the camera.
            truth: what `record` returned beside the images, as far as it is known.
        """
        return None


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

    def sigma(self, flux: np.ndarray, instrument: Instrument, truth: Truth) -> np.ndarray:
        """Return the noise of source, sky and read-out."""
        return np.sqrt(np.maximum(flux, 0) / instrument.total_exposure + instrument.background_sigma**2)


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

    def sigma(self, flux: np.ndarray, instrument: Instrument, truth: Truth) -> np.ndarray:
        """Return the noise of source, twice, and background; of an exposure that is not known, that of the middle one."""
        t = truth.get("exposure", np.full(len(flux), 10.0 ** float(np.mean(self.log10_exposure))))
        return np.sqrt(2 * np.maximum(flux, 0) / t[:, None, None] + self.background_rms**2)


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

    def sigma(self, flux: np.ndarray, instrument: Instrument, truth: Truth) -> np.ndarray:
        """Return the noise of source and sky, in counts."""
        return np.sqrt(np.maximum(flux, 0) + self.sky)


DEPTH = Uniform(0.75, 1.3)
"""By how much the exposure of a survey's cutouts differs from place to place."""


@dataclass(frozen=True)
class BandMinMax(Recording):
    """The coadded exposures of a survey, each band scaled to between 0 and 1 by its own extremes ("lens finding").

    Sky and source add Gaussian noise of variance `(flux + sky) / t` (counts are large); the depth differs from image to image, and
    resampling to the grid of the coadd correlates neighbouring pixels a little.

    Args:
        depth: factor on the exposure time of an image in all bands, and again of each band; both are drawn from it.
        neighbour: weight of each neighbour, along one axis, by which resampling correlates noise; 0.066 correlates by 0.13.
    """

    depth: Prior = DEPTH
    neighbour: float = 0.066
    unit = "min-max"

    def scaled(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], band: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return min-max scaled images `(B, H, W)`, and the noise's standard deviation a pixel in e-/s, of that shape."""
        t = self._exposure(instrument, seed, rows, band)
        sigma = np.sqrt((np.maximum(flux, 0) + np.float32(instrument.sky_per_pixel)) / t)
        keys = row_keys(seed, rows, "noise" if band == 0 else f"noise {band}")
        noise = draw_normals(keys, flux.shape[1:])[0]
        for axis in (-2, -1):  # shifted sums: a row does not depend on its neighbours to the last bit
            spread = np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
            noise = (noise + np.float32(self.neighbour) * spread) / np.float32((1 + 2 * self.neighbour**2) ** 0.5)
        return min_max(flux + sigma * noise), sigma

    def painted(
        self, arcs: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], band: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return light `(B, H, W)` with its own photon noise, and without, in units of the background's noise.

        The background's noise itself is not added: the image that is painted on has it.
        """
        t = self._exposure(instrument, seed, rows, band)
        background = np.sqrt(np.float32(instrument.sky_per_pixel) / t)
        noise = draw_normals(row_keys(seed, rows, "noise" if band == 0 else f"noise {band}"), arcs.shape[1:])[0]
        light = np.maximum(arcs, 0)
        return (light + np.sqrt(light / t) * noise) / background, light / background

    def _exposure(self, instrument: Instrument, seed: int, rows: Sequence[int], band: int) -> np.ndarray:
        """Return the exposure time of each image, `(B, 1, 1)` float32."""
        both, own = (self.depth.draw(RowDraws(seed, rows, stream)) for stream in ("depth", f"depth {band}"))
        return (instrument.total_exposure * both * own)[:, None, None].astype(np.float32)

    def record(
        self, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], stream: str = "noise"
    ) -> tuple[np.ndarray, Truth]:
        """Record min-max scaled images of one band."""
        band = int(stream.removeprefix("noise") or 0)
        return self.scaled(flux, instrument, seed, rows, band)[0], {}


def min_max(images: np.ndarray) -> np.ndarray:
    """Scale images `(B, H, W)` to between 0 and 1, each by its own extremes.

    Raises:
        InputError: an image has no contrast.
    """
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    if (low == high).any():
        raise InputError(f"image without contrast (every pixel {low[low == high][0]}): a min-max scale needs some; raise the flux")
    return (images - low) / (high - low)
