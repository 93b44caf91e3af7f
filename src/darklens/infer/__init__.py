"""Posteriors by sampling on the exact renderer: how well anybody could classify the images of a preset."""

from darklens.infer.annealing import Problem, anneal
from darklens.infer.latent import hypotheses, quantile
from darklens.infer.likelihood import Likelihood, likelihood_of
from darklens.infer.limit import Effort, bayes_limit

__all__ = [
    "Effort",
    "Likelihood",
    "Problem",
    "anneal",
    "bayes_limit",
    "hypotheses",
    "likelihood_of",
    "quantile",
]
