"""What a real image has beyond photon and read noise: noise that is correlated between pixels, and cosmic rays.

An artefact changes images that are recorded already. It has random numbers of its own, by `(seed, row)`, so switching one on
changes neither the scene nor the noise of a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar

import numpy as np

from darklens.errors import InputError
from darklens.simulate.instruments import Instrument
from darklens.simulate.rng import row_generator

Truth = dict[str, np.ndarray]


class Artefact(ABC):
    """Something that changes recorded images."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every artefact is a dataclass
    truth_columns: tuple[str, ...] = ()

    @abstractmethod
    def apply(
        self, images: np.ndarray, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], band: int = 0
    ) -> tuple[np.ndarray, Truth]:
        """Change images.

        Args:
            images: `(B, H, W)` as recorded, e-/s.
            flux: `(B, H, W)` without noise, e-/s.
            instrument: the camera.
            seed: seed of the table.
            rows: B row indices.
            band: number of the band, whose artefacts are its own.

        Returns:
            The images, and further truth columns, `(B,)` each.
        """


@dataclass(frozen=True)
class CorrelatedNoise(Artefact):
    """Noise like that of a drizzled image: each pixel shares part of its noise with its neighbours.

    The noise, which is image minus flux, is convolved with the overlap of a drop of `width` pixels with the output pixels
    (drizzle: Fruchter & Hook 2002, PASP 114, 144), and divided by the root of the sum of the kernel's squares: **the variance of
    a pixel stays what the instrument says**, and the correlation comes on top. (A drizzle with the same drop would show the
    smaller variance of the kernel: their factor R of section 7.) The frame is taken as periodic, so borders are no exception.

    Args:
        width: side of the drop in pixels, above 1; 1.5 correlates neighbours by 0.44, 2 by 0.67.

    Raises:
        InputError: the width is outside 1 to 10.
    """

    width: float = 1.5

    def __post_init__(self) -> None:
        if not 1 < self.width <= 10:
            raise InputError(f"correlated noise over {self.width} pixels: the width must be above 1 and at most 10; 1.5 is typical")

    @property
    def taps(self) -> np.ndarray:
        """The kernel along one axis, of odd length and of sum one."""
        radius = int(np.ceil(0.5 * self.width - 0.5))
        edges = np.arange(-radius, radius + 2) - 0.5
        half = 0.5 * self.width
        return np.diff(np.clip(edges, -half, half)) / self.width

    def apply(
        self, images: np.ndarray, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], band: int = 0
    ) -> tuple[np.ndarray, Truth]:
        """Correlate the noise of neighbouring pixels."""
        taps, shape = self.taps, images.shape[-2:]
        if min(shape) < len(taps):
            raise InputError(f"image of {shape[0]}x{shape[1]} pixels is smaller than the noise kernel of {len(taps)}: enlarge it")
        noise = images - flux
        for axis in (-2, -1):  # shifted sums: a row does not depend on its neighbours to the last bit
            shifts = range(-(len(taps) // 2), len(taps) // 2 + 1)
            noise = sum(tap * np.roll(noise, shift, axis) for tap, shift in zip(taps, shifts, strict=True)) / np.sqrt(taps @ taps)
        return flux + noise, {}


@dataclass(frozen=True)
class CosmicRays(Artefact):
    """Charged particles that cross the detector: straight tracks of pixels that have nothing to do with the sky.

    A Poisson number of tracks an image, each with a uniform place and direction, an exponential length, and an electron count
    that is log-normal and spread evenly along the track. Of an image of several bands the truth columns are those of the first.

    Args:
        per_image: expected number of tracks in an image, after whatever rejection its exposures went through; `expected`
            computes it from a rate.
        length: mean length in pixels.
        electrons: median number of electrons of a track.
        spread: standard deviation of the natural logarithm of the electrons.

    Raises:
        InputError: a negative or absurd number.
    """

    per_image: float = 2.0
    length: float = 6.0
    electrons: float = 3000.0
    spread: float = 0.8
    truth_columns = ("n_cosmic_rays", "n_cosmic_ray_pixels")

    def __post_init__(self) -> None:
        if not 0 <= self.per_image <= 10_000:
            raise InputError(f"{self.per_image} cosmic rays an image is outside 0 to 10,000: choose a number in between")
        if not (0 < self.length <= 1000 and self.electrons > 0 and self.spread >= 0):
            raise InputError(
                f"cosmic rays of length {self.length}, {self.electrons} electrons and spread {self.spread}: the first two must be "
                "positive (length at most 1000 pixels) and the third not negative; leave them out for those of a space telescope"
            )

    @staticmethod
    def expected(rate: float, instrument: Instrument, shape: tuple[int, int], *, pixel_size: float, rejected: float = 0.0) -> float:
        """Return the expected number of tracks in an image.

        Args:
            rate: particles per cm^2 and s (about 1.2 for HST's WFC3 UVIS).
            instrument: its total exposure counts.
            shape: rows and columns.
            pixel_size: side of a detector pixel, micrometres.
            rejected: share that was recognised and removed when exposures were combined.
        """
        return rate * shape[0] * shape[1] * (pixel_size * 1e-4) ** 2 * instrument.total_exposure * (1.0 - rejected)

    def deposits(self, shape: tuple[int, int], seed: int, row: int, band: int = 0) -> tuple[np.ndarray, int]:
        """Return the electrons that cosmic rays leave in the pixels of a row, and the number of tracks.

        Returns:
            `(H, W)` float64, whose non-zero pixels are the mask of what is spoilt.
        """
        rng = row_generator(seed, row, f"cosmic rays {band}")
        number = int(rng.poisson(self.per_image))
        out = np.zeros(shape)
        for _ in range(number):
            y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            angle, length = rng.uniform(0, 2 * np.pi), rng.exponential(self.length)
            electrons = self.electrons * np.exp(self.spread * rng.standard_normal())
            steps = (np.arange(max(1, int(np.ceil(4 * length)))) + 0.5) / max(1, int(np.ceil(4 * length)))
            columns = np.floor(x + length * steps * np.cos(angle)).astype(int)
            lines = np.floor(y + length * steps * np.sin(angle)).astype(int)
            inside = (columns >= 0) & (columns < shape[1]) & (lines >= 0) & (lines < shape[0])
            np.add.at(out, (lines[inside], columns[inside]), electrons / len(steps))
        return out, number

    def apply(
        self, images: np.ndarray, flux: np.ndarray, instrument: Instrument, seed: int, rows: Sequence[int], band: int = 0
    ) -> tuple[np.ndarray, Truth]:
        """Add the electrons of cosmic rays, and say how many rays and spoilt pixels there are."""
        drawn = [self.deposits(images.shape[-2:], seed, row, band) for row in rows]
        electrons = np.stack([d for d, _ in drawn])
        truth = {
            "n_cosmic_rays": np.array([float(n) for _, n in drawn]),
            "n_cosmic_ray_pixels": (electrons > 0).sum((1, 2)).astype(np.float64),
        }
        return images + electrons / instrument.total_exposure, truth
