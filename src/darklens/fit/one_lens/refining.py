"""The last descents: all rays, and a source adapted to what was found before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from darklens.fit.one_lens.adapting import freest, image_grid
from darklens.fit.one_lens.choices import Choices
from darklens.fit.one_lens.descents import STRENGTH, Log, told
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.search import Found, descend

PIXELS_A_NODE = 7
"""Image pixels for each node of the final source."""
NODES = 12, 32
"""Least and most nodes along a side of the final source."""
ROUNDS = 6
"""Sources adapted to what was found before: two for the cost, then as many for the evidence as it takes to come to rest."""


def refined(model: Model, best: Found, noise: np.ndarray, choices: Choices, log: Log) -> Found:
    """Go on from the best start.

    Args:
        model: on the pixels that count in the end, with all rays.
        best: of the first descents.
        noise: `(H, W)` of the image, without what the PSF's error adds under point images.
        choices: how the lens is modelled.
        log: receives a sentence for each round.
    """
    if choices.source == "parametric":
        for _ in range(2 if model.points is not None else 1):
            best = descend(_with_psf_error(model, best, noise, log), best.eta, STRENGTH, iterations=60)
        return best
    side = choices.nodes or int(np.clip((model.observation.size / PIXELS_A_NODE) ** 0.5, *NODES))
    for number in range(ROUNDS):
        louder = _with_psf_error(model, best, noise, log)
        on_grid, strength = louder.on(image_grid(louder, best, side, choices.regularisation)), best.solution.strength
        if choices.adaptive and number:  # what the first descents leave is too coarse to say where the source is steep
            on_grid, solution = freest(on_grid, best)
            strength = solution.strength
        many = 12 if number < 2 else 30
        best = descend(on_grid, best.eta, strength, iterations=many, by_evidence=number >= 2)
        log(f"{side}x{side} source nodes: ln E {best.evidence:.1f}, {told(best)}, {best.steps} steps")
        if number >= 2 and best.converged:
            break
    return best


def _with_psf_error(model: Model, found: Found, noise: np.ndarray, log: Log) -> Model:
    """Return the model with the noise that the PSF's error makes of the points' light, as what was found leaves it over."""
    points, before = model.points, found.model
    if points is None:
        return model
    place = dict(zip(found.model.names, found.eta.tolist(), strict=True))
    shed = points.shed(place, found.solution.x[before.blocks["points"]], before.observation)
    seen = before.observation.mask
    left_over = found.solution.residual / before.observation.weight
    points = points.with_error_of(left_over, noise[seen], shed[seen])
    log(f"PSF error {100 * points.psf_error:.2g}% of the light of the point images")
    return replace(model, points=points, observation=replace(model.observation, noise=points.louder(noise, shed)))
