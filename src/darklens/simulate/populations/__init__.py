"""Populations: priors over scenes, with class labels.

A population draws one system at a time from a generator of its own (`rng.row_generator`), as plain numbers in a `System`; the
base class stacks systems into a `Scene`. Classes take turns (row i has class i mod k), so that every slice is balanced.

Adding a population is one class with `classes` and `draw_system`, and one preset line in `presets.py`.
"""

from darklens.simulate.populations.base import Population, System
from darklens.simulate.populations.common_test import CommonTest
from darklens.simulate.populations.deeplense import DeepLenseSim, de_broglie_arcsec
from darklens.simulate.populations.lens_finding import LensFinding
from darklens.simulate.populations.line_of_sight import LineOfSight
from darklens.simulate.populations.perturber import Perturber
from darklens.simulate.populations.physical import PhysicalLens
from darklens.simulate.populations.subhalos import Subhalos

__all__ = [
    "CommonTest",
    "DeepLenseSim",
    "LensFinding",
    "LineOfSight",
    "Perturber",
    "PhysicalLens",
    "Population",
    "Subhalos",
    "System",
    "de_broglie_arcsec",
]
