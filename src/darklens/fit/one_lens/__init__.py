"""One lens, modelled in full: masses, lens light, and a source on pixels or a smooth one."""

from darklens.fit.one_lens.choices import SOURCES, Choices
from darklens.fit.one_lens.fitting import fit_lens
from darklens.fit.one_lens.inversion import Linear, Solution, best_strength
from darklens.fit.one_lens.lens_fit import LensFit
from darklens.fit.one_lens.light import LIGHTS_OF_LENS, LightBasis, lens_light
from darklens.fit.one_lens.macro import Macro
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.point_search import locate
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.fit.one_lens.points import Points
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.search import Found, descend
from darklens.fit.one_lens.source_grid import REGULARISATIONS, SourceGrid, adapted

__all__ = [
    "LIGHTS_OF_LENS",
    "REGULARISATIONS",
    "SOURCES",
    "Choices",
    "Found",
    "LensFit",
    "LightBasis",
    "Linear",
    "Macro",
    "Model",
    "Observation",
    "PointSpread",
    "Points",
    "Positions",
    "Solution",
    "SourceGrid",
    "adapted",
    "best_strength",
    "descend",
    "fit_lens",
    "lens_light",
    "locate",
]
