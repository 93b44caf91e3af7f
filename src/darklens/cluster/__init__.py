"""The same work units on many machines."""

from darklens.cluster.score import score_on_cluster
from darklens.cluster.simulate import simulate_on_cluster

__all__ = ["score_on_cluster", "simulate_on_cluster"]
