"""The same work units on many machines."""

from darklens.cluster.simulate import simulate_on_cluster

__all__ = ["simulate_on_cluster"]
