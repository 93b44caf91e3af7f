"""What is in the sky and what a telescope records."""

from darklens.simulate.artefacts import Artefact, CorrelatedNoise, CosmicRays
from darklens.simulate.bands import Band, bands_of
from darklens.simulate.clumps import clumps_of
from darklens.simulate.disturbance import Disturbance, disturbance, row_of
from darklens.simulate.instruments import INSTRUMENTS, Instrument, instrument
from darklens.simulate.options import configured, options_of_split
from darklens.simulate.pairs import PAIRS, PairPreset, simulate_pairs
from darklens.simulate.populations import CommonTest, DeepLenseSim, LineOfSight, Perturber, Population, Subhalos
from darklens.simulate.preset_type import Preset
from darklens.simulate.presets import PRESETS, preset
from darklens.simulate.psf import PSF, GaussianPSF, TabulatedPSF
from darklens.simulate.rendering import pixel_grid, render
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Scene
from darklens.simulate.write import simulate

__all__ = [
    "INSTRUMENTS",
    "PAIRS",
    "PRESETS",
    "PSF",
    "Artefact",
    "Band",
    "CommonTest",
    "CorrelatedNoise",
    "CosmicRays",
    "DeepLenseSim",
    "Disturbance",
    "GaussianPSF",
    "Instrument",
    "LineOfSight",
    "PairPreset",
    "Perturber",
    "Population",
    "Preset",
    "Scene",
    "Subhalos",
    "TabulatedPSF",
    "bands_of",
    "clumps_of",
    "configured",
    "disturbance",
    "instrument",
    "options_of_split",
    "pixel_grid",
    "preset",
    "render",
    "row_generator",
    "row_of",
    "simulate",
    "simulate_pairs",
]
