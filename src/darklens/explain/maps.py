"""A question answered in parts, so that memory does not grow with the number of images."""

from __future__ import annotations

import numpy as np
import torch

from darklens.explain.attribution import Question
from darklens.explain.methods import Method

BATCH = 32
"""Images that are explained together."""


def maps_of(method: Method, question: Question) -> np.ndarray:
    """Return maps `(B, h, w)` float32, larger where a pixel matters more.

    Raises:
        InputError: the network does not allow the method.
    """
    question.network.eval()
    parts = []
    for first in range(0, len(question.inputs), BATCH):
        parts.append(method.maps(question.take(slice(first, first + BATCH))).detach().float().cpu())
    return torch.cat(parts).numpy()
