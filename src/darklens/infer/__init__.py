"""Posteriors by sampling on the exact renderer: how well anybody could classify the images of a preset."""

from darklens.infer.annealing import Problem, anneal
from darklens.infer.latent import hypotheses, quantile
from darklens.infer.likelihood import Likelihood, likelihood_of
from darklens.infer.limit import Effort, bayes_limit
from darklens.infer.population import infer_population, population_coverage
from darklens.infer.reweighting import Reweighting

__all__ = [
    "Effort",
    "Likelihood",
    "Problem",
    "Reweighting",
    "anneal",
    "bayes_limit",
    "hypotheses",
    "infer_population",
    "likelihood_of",
    "population_coverage",
    "quantile",
]
