"""What can look at the bench: every instrument, and the cameras that the data sets of networks were made with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from darklens.errors import unknown
from darklens.lensing import SersicEllipse
from darklens.simulate import INSTRUMENTS, PRESETS, CommonTest, DeepLenseSim, Instrument, Preset
from darklens.simulate.noise import Exposure, NoiseFree, Recording
from darklens.simulate.populations import PhysicalLens

SOURCE_MAG = 20.0
"""AB magnitude that the source of a data set without magnitudes is taken for."""
FAINT = 0.01
"""Noise of a camera that has none, as a fraction of the peak: what differences are divided by."""


@dataclass(frozen=True)
class Camera:
    """An instrument and a way of recording.

    Args:
        name: key of `CAMERAS`.
        title: name on the page.
        instrument: pixels, PSF, exposure.
        recording: what ends up in the image.
        zero_point: AB magnitude of one unit of flux.
        size: pixels a side, where a data set fixes them; None leaves them open.
    """

    name: str
    title: str
    instrument: Instrument
    recording: Recording
    zero_point: float
    size: int | None = None

    def exposed(self, factor: float) -> Camera:
        """Return the same with another exposure time; cameras without one stay as they are."""
        longer = replace(self.instrument, exposure_time=self.instrument.exposure_time * factor)
        return self if factor == 1 else replace(self, instrument=longer)

    def flux(self, magnitude: float) -> float:
        """Return the flux of an AB magnitude."""
        return 10.0 ** (-0.4 * (magnitude - self.zero_point))

    @property
    def noisy(self) -> bool:
        """Whether its images have noise."""
        return not isinstance(self.recording, NoiseFree)

    def sigma(self, flux: np.ndarray) -> np.ndarray:
        """Return the noise of each pixel in units of the flux; a hundredth of the peak for a camera that has none."""
        found = self.recording.sigma(flux[None], self.instrument, {})
        return np.full_like(flux, max(FAINT * float(flux.max()), 1e-12)) if found is None else found[0]


def _zero_point(preset: Preset) -> float | None:
    """Return the AB magnitude of one unit of flux in a preset's images, None where its scenes are not the bench's."""
    if preset.survey is not None:
        return None
    population = preset.population
    if isinstance(population, PhysicalLens):
        return population.zero_point
    if isinstance(population, DeepLenseSim):
        usual = SersicEllipse(population.source_amp, 0.25, 1.0, 0.0, 0.0)
    elif isinstance(population, CommonTest):
        usual = SersicEllipse(100.0 / population.pixel_area, 0.5, 1.5, 0.0, 0.0)
    else:
        return None
    return SOURCE_MAG + 2.5 * float(np.log10(float(usual.total_flux())))


def _cameras() -> dict[str, Camera]:
    found = {}
    for name, seen in INSTRUMENTS.items():
        if seen.zero_point is not None and seen.sky_mag_arcsec2 is not None:
            found[name] = Camera(name, name, seen, Exposure(), seen.zero_point)
    for name, preset in PRESETS.items():
        zero_point = _zero_point(preset)
        if zero_point is not None:
            title = f"as in {name}"
            found[f"as-{name}"] = Camera(f"as-{name}", title, preset.instrument, preset.recording, zero_point, preset.shape[0])
    return found


CAMERAS: dict[str, Camera] = _cameras()
"""Name -> camera: the instruments, then `as-PRESET` for each preset of single lenses."""


def camera(name: str) -> Camera:
    """Return the camera of that name.

    Raises:
        InputError: no such camera.
    """
    if name not in CAMERAS:
        raise unknown("instrument", name, CAMERAS)
    return CAMERAS[name]
