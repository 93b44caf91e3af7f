"""Where a classifier looks: a network and a batch to maps, and what such maps are worth."""

from darklens.explain.attribution import Question, baseline_of
from darklens.explain.maps import maps_of
from darklens.explain.methods import METHODS, Method, chosen_methods
from darklens.explain.perturbation import Curves, perturbation_curves
from darklens.explain.sanity import rank_correlation, stability
from darklens.explain.truth import Truth, chance, mean_with_interval, regions, truth_scores

__all__ = [
    "METHODS",
    "Curves",
    "Method",
    "Question",
    "Truth",
    "baseline_of",
    "chance",
    "chosen_methods",
    "maps_of",
    "mean_with_interval",
    "perturbation_curves",
    "rank_correlation",
    "regions",
    "stability",
    "truth_scores",
]
