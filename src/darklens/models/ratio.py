r"""A network that says how much likelier a lens is under one population than under another.

Of an image and a population phi it gives `f = ln p(image | phi)/p(image | reference)`, up to what it has not learnt: a classifier
between images of phi and of the reference has `f` for its logit (Cranmer, Pavez & Louppe 2015, arXiv:1506.02169).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ratio(nn.Module):
    """Summary of an image and a population to the logit.

    Args:
        summary: numbers that an image is told from.
        population: numbers that a population is told from.
        hidden: width of the three hidden layers.
        seed: where the initial weights are drawn from.
    """

    def __init__(self, summary: int, population: int, hidden: int = 96, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            self.image, self.population = nn.Linear(summary, hidden), nn.Linear(population, hidden)
            self.rest = nn.Sequential(
                nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
            )

    def forward(self, summary: Tensor, population: Tensor) -> Tensor:
        """Return the logits `(...)` of summaries `(..., S)` and populations `(..., P)`, whose leading axes broadcast."""
        return self.rest(self.image(summary) + self.population(population)).squeeze(-1)
