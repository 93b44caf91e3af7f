"""Simulated arcs painted on real galaxies."""

from darklens.simulate.injection.camera import Camera, camera_of
from darklens.simulate.injection.checks import check_injection
from darklens.simulate.injection.deflector import Deflector, Matched, magnitudes
from darklens.simulate.injection.galaxy import Galaxy, measure_galaxy
from darklens.simulate.injection.injection import CLASSES, Injection, Row, Selection
from darklens.simulate.injection.source import PictureSources, SersicSources, Source, Sources
from darklens.simulate.injection.write import inject, injection

__all__ = [
    "CLASSES",
    "Camera",
    "Deflector",
    "Galaxy",
    "Injection",
    "Matched",
    "PictureSources",
    "Row",
    "Selection",
    "SersicSources",
    "Source",
    "Sources",
    "camera_of",
    "check_injection",
    "inject",
    "injection",
    "magnitudes",
    "measure_galaxy",
]
