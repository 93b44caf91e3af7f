"""Is a map about the network at all? Tests that a map passes if it changes when it should, and stays when it should.

- **Randomised weights** and **randomised labels** (Adebayo et al. 2018, arXiv:1810.03292): the maps of a network with fresh
  weights, and of one that was taught wrong labels, should be other maps; a method whose maps are still alike draws the image, not
  the network.
- **Stability**: a little noise in what the network sees should leave a map as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import rankdata

from darklens.explain.attribution import Question
from darklens.explain.maps import maps_of
from darklens.explain.methods import Method

NOISE = 0.05
"""Scatter of the noise, in units of the scatter of each channel of the inputs."""


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of maps `(B, h, w)` with others, `(B,)`; zero for a map that is flat."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b)]
    x, y = (r - r.mean(1, keepdims=True) for r in ranks)
    below = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.where(below > 0, (x * y).sum(1) / np.maximum(below, 1e-300), 0.0)


def stability(method: Method, question: Question, maps: np.ndarray, noise: float = NOISE) -> np.ndarray:
    """Return `(B,)` the rank correlation of maps with those under noise; the class that is explained stays.

    Args:
        method: that made the maps.
        question: what was asked.
        maps: `(B, h, w)`.
        noise: scatter in units of that of each channel of the inputs.
    """
    generator = torch.Generator().manual_seed(question.seed)
    drawn = torch.randn(question.inputs.shape, generator=generator).to(question.inputs)
    scatter = question.inputs.std((0, 2, 3), keepdim=True)
    return rank_correlation(maps, maps_of(method, replace(question, inputs=question.inputs + noise * scatter * drawn)))
