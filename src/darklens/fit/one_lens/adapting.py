"""Grids for the source, adapted to what is known of it: by a guess of the ring, by a fit before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from darklens.errors import WorkError
from darklens.fit.one_lens.inversion import Solution, best_strength
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.search import Found
from darklens.fit.one_lens.source_grid import EVEN, SourceGrid, adapted

ABOUT_RING = 0.65, 1.45
"""Radii between which rays belong to the ring, in units of the Einstein radius."""
FLOORS = 0.3, 0.1, 0.03, 0.01, 0.003, 0.001
"""Freedom of a dark node, in units of the brightest one's, that are tried one after the other."""
ROUGHLY = 0.5
"""Tolerance of ln lambda while floors are compared."""
SMOOTHED = 0.7
"""Nodes by which the brightness that gives the freedom is smoothed, so that one node's noise is not its neighbour's law."""


def ring_grid(model: Model, eta: np.ndarray, nodes: int, regularisation: str) -> SourceGrid:
    """Return a source grid where rays from around the ring end."""
    value = model.named(eta)
    bx, by = (b.mean(-1).numpy() for b in model.traced(value))
    held = _about_ring(model, value)
    return adapted(bx, by, held.astype(float), nodes, regularisation, held=held)


def image_grid(model: Model, found: Found, nodes: int, regularisation: str, power: float = 0.5, even: float = EVEN) -> SourceGrid:
    """Return a source grid that is fine where the source that was found before is bright.

    Args:
        model: without a grid, or on another one.
        found: what was found before.
        nodes: along a side.
        regularisation: as of the grid.
        power: of the brightness with which rays draw lines to them; the larger, the finer where it is brightest.
        even: as of `adapted`.

    Raises:
        WorkError: there is no source.
    """
    observation, before = model.observation, found.model
    value = before.named(found.eta)
    bx, by = (b.mean(-1) for b in model.traced(value))
    brightness = before.source(found.solution.x, found.eta, bx, by).numpy() * observation.pixel_scale**2
    noise = np.median(observation.noise[observation.mask])
    held = _about_ring(model, value) | (brightness > noise)
    weight = np.clip(brightness / noise - 0.5, 0, None) ** power
    if weight.sum() < nodes:
        raise WorkError("the source that was found is lost in the noise: check the noise map, or guess the ring with --theta-e")
    return adapted(bx.numpy(), by.numpy(), weight, nodes, regularisation, held=held, even=even)


def _about_ring(model: Model, value: dict[str, Tensor]) -> np.ndarray:
    """Return which rays pass near the Einstein ring, `(R,)`: they hold the source of any lens."""
    x, y = (t.mean(-1).numpy() for t in model.observation.rays)
    r = np.hypot(x - float(value["center_x"]), y - float(value["center_y"])) / float(value["theta_E"])
    return (r > ABOUT_RING[0]) & (r < ABOUT_RING[1])


def freest(model: Model, found: Found, adaptive: bool = True) -> tuple[Model, Solution]:
    """Return the model with each node as free as its brightness makes most evident, and its linear solution.

    The prior of a node is as wide as `floor + brightness`, in units of the largest brightness of what was found before; the floor
    is the one of largest evidence, none (one smoothness for all) among them. That the data thus speak twice has a price that is
    small beside what it mends (Nightingale et al. 2018, MNRAS 478, 4738).

    Args:
        model: on a grid of one smoothness.
        found: what was found before, on any grid.
        adaptive: whether any but the one smoothness is tried.
    """
    assert model.grid is not None
    bx, by = (torch.from_numpy(b) for b in np.meshgrid(model.grid.x, model.grid.y))
    bright = found.model.source(found.solution.x, found.eta, bx, by).clamp_min(0).numpy()
    bright = ndimage.gaussian_filter(bright, SMOOTHED)
    problem = model.problem(found.eta)
    best = model, best_strength(problem, found.solution.strength, ROUGHLY)
    for floor in FLOORS if adaptive and bright.max() > 0 else ():
        grid = replace(model.grid, freedom=floor + bright / bright.max())
        freed = replace(problem, R=grid.precision, log_det_R=grid.log_det)
        solution = best_strength(freed, best[1].strength, ROUGHLY)
        if solution.evidence <= best[1].evidence:
            break
        best = model.on(grid), solution
    return best
