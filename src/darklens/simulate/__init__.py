"""What is in the sky and what a telescope records."""

from darklens.simulate.instruments import INSTRUMENTS, Instrument, instrument
from darklens.simulate.populations import CommonTest, DeepLenseSim, Population
from darklens.simulate.presets import PRESETS, Preset, preset
from darklens.simulate.psf import PSF, GaussianPSF, TabulatedPSF
from darklens.simulate.rendering import pixel_grid, render
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Scene
from darklens.simulate.write import simulate

__all__ = [
    "INSTRUMENTS",
    "PRESETS",
    "PSF",
    "CommonTest",
    "DeepLenseSim",
    "GaussianPSF",
    "Instrument",
    "Population",
    "Preset",
    "Scene",
    "TabulatedPSF",
    "instrument",
    "pixel_grid",
    "preset",
    "render",
    "row_generator",
    "simulate",
]
