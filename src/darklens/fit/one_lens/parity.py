"""Whether a model images its source more than once.

A source on pixels can imitate any image: a lens too light leaves the ring where it is and calls it the source's own shape. Such a
model fits, its descent comes to rest, and its Einstein radius means nothing. What gives it away: where a source is imaged more than
once, images of both parities share the light (Schneider, Ehlers & Falco 1992, section 5.4), and here one has all of it.
"""

from __future__ import annotations

import numpy as np
import torch

from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.search import Found

SEEN = 2.0
"""Standard deviations of a pixel from which on the lensed source is looked at."""
LEAST = 0.03
"""Share of its light that images of either parity have, where there are several."""
STEP = 1e-4
"""Arcsec."""


def mirrored(found: Found) -> float | None:
    """Return the share of the lensed source's light in images of negative parity; None where the source is not seen."""
    solution, model = found.solution, found.model
    own = model.blocks["source"]
    signal = solution.problem.B[:, own] @ solution.x[own]
    bright = signal > SEEN
    if not bright.any():
        return None
    x, y = (torch.from_numpy(c[model.observation.mask][bright]) for c in model.observation.coordinates())
    light = signal[bright] / model.observation.weight[bright]
    return float(light[_jacobian(model, found.eta, x, y) < 0].sum() / light.sum())


def imaged_once(found: Found) -> bool:
    """Return whether images of one parity have all the light that is seen of the source."""
    share = mirrored(found)
    return share is not None and not LEAST <= share <= 1 - LEAST


def _jacobian(model: Model, eta: np.ndarray, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return the determinant of the lens map at positions, `(n,)`."""
    value = model.named(eta)
    slopes = []
    for dx, dy in ((STEP, 0.0), (0.0, STEP)):
        after, before = model.traced(value, x + dx, y + dy), model.traced(value, x - dx, y - dy)
        slopes.append([(a - b) / (2 * STEP) for a, b in zip(after, before, strict=True)])
    (xx, yx), (xy, yy) = slopes
    return (xx * yy - xy * yx).numpy()
