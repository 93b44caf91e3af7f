"""The last descents: all rays, and a source adapted to what was found before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from darklens.errors import WorkError
from darklens.fit.one_lens.adapting import ROUGHLY, freest, image_grid
from darklens.fit.one_lens.choices import Choices
from darklens.fit.one_lens.descents import STRENGTH, Log, told
from darklens.fit.one_lens.inversion import best_strength
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.parity import imaged_once
from darklens.fit.one_lens.search import Found, descend

PIXELS_A_NODE = 7
"""Image pixels for each node of the final source."""
NODES = 12, 32
"""Least and most nodes along a side of the final source."""
ROUNDS = 6
"""Sources adapted to what was found before."""
BY_COST = 2
"""Rounds in which the cost is minimised, at a slope that hardly moves, since without ln|A_s| the cost has no hold on it; in those
after them it is the evidence, as many as it takes to come to rest."""
POWERS = 0.5, 1.0
"""Of the brightness with which rays draw the lines of the grid; the most evident grid is taken."""
OTHERS = (0.9, 0.5, 0.3), (1.1, 0.5, 0.3), (1.0, 1.0, 0.15), (1.0, 0.5, 0.5)
"""Grids on which the fit is done again: nodes along a side in units of its own, the power, and the share of even steps."""


def refined(model: Model, finalists: list[Found], noise: np.ndarray, choices: Choices, log: Log) -> Found:
    """Go on from the best starts, and in the end from the best of them.

    Args:
        model: on the pixels that count in the end, with all rays.
        finalists: of the first descents, the best first.
        noise: `(H, W)` of the image, without what the PSF's error adds under point images.
        choices: how the lens is modelled.
        log: receives a sentence for each round.
    """
    if choices.source == "parametric":
        best = finalists[0]
        for _ in range(2 if model.points is not None else 1):
            best = descend(_with_psf_error(model, best, noise, log), best.eta, STRENGTH, iterations=60)
        return best
    finalists = _by_cost(model, finalists, noise, choices, log)
    best = max([one for one in finalists if not imaged_once(one)] or finalists, key=lambda one: one.evidence)
    for number in range(BY_COST, ROUNDS):
        best = _round(model, best, number, noise, choices, log)
        if best.converged:
            break
    return best


def _by_cost(model: Model, finalists: list[Found], noise: np.ndarray, choices: Choices, log: Log) -> list[Found]:
    """Return where the first rounds lead, without those that end in nothing, unless all do."""
    found: list[Found] = []
    failed: Exception | None = None
    for one in finalists:
        try:
            best = one
            for number in range(BY_COST):
                best = _round(model, best, number, noise, choices, log)
            found.append(best)
        except (np.linalg.LinAlgError, WorkError) as error:
            failed = error
    if isinstance(failed, np.linalg.LinAlgError) and not found:
        raise WorkError("the source cannot be solved for on any grid: check noise map and PSF, or take fewer --nodes") from failed
    if failed is not None and not found:
        raise failed
    return found


def _round(model: Model, best: Found, number: int, noise: np.ndarray, choices: Choices, log: Log) -> Found:
    """Return a descent on the most evident grid."""
    last = number >= BY_COST
    model = _with_psf_error(model if last else model.nearly_isothermal, best, noise, log)
    side = side_of(model, choices)
    if number:
        on_grid, strength = _most_evident(model, best, side, choices)
    else:  # the first descents leave too coarse a source to say where it is steep
        on_grid = model.on(image_grid(model, best, side, choices.regularisation))
        strength = best.solution.strength
    best = descend(on_grid, best.eta, strength, iterations=30 if last else 12, by_evidence=last)
    log(f"{side}x{side} source nodes: ln E {best.evidence:.1f}, {told(best)}, {best.steps} steps")
    return best


def on_other_grids(best: Found, choices: Choices, log: Log) -> tuple[Found, np.ndarray]:
    """Return the fit again on grids that are as good as its own, the one of largest evidence, and where the others lead.

    Where the lines of the grid lie is nobody's knowledge, and the evidence of one and the same lens changes with it by more than
    with the lens within its errors. How far the parameters move is an error like any other (Etherington et al. 2022, MNRAS 517,
    3275, cap the likelihood to that end).

    Args:
        best: the fit on its own grid.
        choices: how the lens is modelled.
        log: receives a sentence.

    Returns:
        The fit, and parameters `(g, p)` on the other grids; none of them where the source is smooth.
    """
    if choices.source == "parametric":
        return best, np.zeros((0, len(best.eta)))
    found, side = [best], side_of(best.model, choices)
    for factor, power, even in OTHERS:
        try:
            grid = image_grid(best.model, best, max(4, round(factor * side)), choices.regularisation, power, even)
            on_grid, solution = freest(best.model.on(grid), best, choices.adaptive)
            other = descend(on_grid, best.eta, solution.strength, iterations=10, by_evidence=True)
        except (np.linalg.LinAlgError, WorkError):  # a grid on which nothing can be solved says nothing about the parameters
            continue
        found.append(other)
    at_rest = [one for one in found if one.converged or one is best]
    first = max(at_rest, key=lambda one: one.evidence)
    where = [one.eta[one.model.names.index("theta_E")] for one in found]
    spread = max(one.evidence for one in found) - min(one.evidence for one in found)
    log(f'on {len(found)} grids: ln E within {spread:.1f}, theta_E {min(where):.4f}" to {max(where):.4f}"')
    return first, np.array([one.eta for one in found if one is not first]).reshape(-1, len(best.eta))


def side_of(model: Model, choices: Choices) -> int:
    """Return how many nodes a pixelised source has along a side."""
    return choices.nodes or int(np.clip((model.observation.size / PIXELS_A_NODE) ** 0.5, *NODES))


def _most_evident(model: Model, best: Found, side: int, choices: Choices) -> tuple[Model, float]:
    """Return the model on the grid that makes what was found before most evident, its own among them, and the regularisation."""
    same = replace(model, grid=best.model.grid)
    tried = [(same, best_strength(same.problem(best.eta), best.solution.strength, ROUGHLY))]
    for power in POWERS:
        on_grid = model.on(image_grid(model, best, side, choices.regularisation, power))
        tried.append(freest(on_grid, best, choices.adaptive))
    chosen, solution = max(tried, key=lambda one: one[1].evidence)
    return chosen, solution.strength


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
