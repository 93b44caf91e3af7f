"""Where is the clump: the gain in likelihood by one at every place and mass of an image, and what noise would have done."""

from darklens.infer.substructure.clump import Clump, clump_for
from darklens.infer.substructure.gain import GainMaps, gain_maps, peaks
from darklens.infer.substructure.look_elsewhere import LookElsewhere
from darklens.infer.substructure.one_lens import localise_lens
from darklens.infer.substructure.paths import localise_path
from darklens.infer.substructure.pixelised import PixelisedTemplates, Weighed, distinct, search_lens, weigh
from darklens.infer.substructure.refit import Refit, refit
from darklens.infer.substructure.search import Candidate, Search, Settings, search
from darklens.infer.substructure.smooth_lens import SmoothLens, smooth_lens
from darklens.infer.substructure.templates import ParametricTemplates, Templates

__all__ = [
    "Candidate",
    "Clump",
    "GainMaps",
    "LookElsewhere",
    "ParametricTemplates",
    "PixelisedTemplates",
    "Refit",
    "Search",
    "Settings",
    "SmoothLens",
    "Templates",
    "Weighed",
    "clump_for",
    "distinct",
    "gain_maps",
    "localise_lens",
    "localise_path",
    "peaks",
    "refit",
    "search",
    "search_lens",
    "smooth_lens",
    "weigh",
]
