"""The first descents: from many starts to the valleys of the posterior, with a coarse source.

A source on pixels imitates any image under almost any lens, so that its cost has a valley beside every start. One smooth profile
cannot, and leads into the right one from afar, unless the source is nothing like a profile. So each start goes both ways: by a
smooth source that pixels take over from, and on pixels at once. The lens galaxy is one profile along with a smooth source, too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from darklens.errors import WorkError
from darklens.fit.one_lens.adapting import ring_grid
from darklens.fit.one_lens.choices import Choices
from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.parity import imaged_once
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.search import Found, descend

COARSE = 12
"""Nodes along a side of the source in the first descents."""
STRENGTH = 1e-4
"""Regularisation in units of the noise to begin with; its evidence moves it at once."""
ALIKE = 1e-3
"""Difference of two lenses, in units of the parameters' ranges, below which they are one and the same."""
FINALISTS, WITHIN, DISTINCT = 3, 300.0, 0.02
"""How many valleys are gone on in at most, how far in ln E of the coarse source below the best one, and how far from each other in
some parameter of the mass, in units of its range."""

Log = Callable[[str], None]


def first_descents(guide: Model, model: Model, starts: list[np.ndarray], choices: Choices, log: Log) -> list[Found]:
    """Return where the starts lead to.

    Args:
        guide: with a smooth source, and a Sersic profile where the model's lens light is of Gaussians.
        model: the same with a source on pixels; the guide itself, where the source stays smooth.
        starts: parameters of the guide, each `(p,)`.
        choices: how the lens is modelled.
        log: receives a sentence for each start.

    Raises:
        WorkError: none leads anywhere.
    """
    found: list[Found] = []
    known: list[tuple[Found, Found]] = []
    for number, eta in enumerate(starts):
        smooth = _down(guide, eta)
        again = None if smooth is None else _alike(smooth, known)
        ends = [] if again is None else [again]
        if again is None and smooth is not None:
            end = smooth if model is guide else _on_pixels(model, guide, smooth.eta, choices)
            if end is not None:
                known.append((smooth, end))
                ends.append(end)
        if model is not guide:  # a source may be no profile at all
            direct = _on_pixels(model, guide, eta, choices)
            ends += [] if direct is None else [direct]
        if ends:
            best = max(ends, key=lambda f: f.evidence)
            found.append(best)
            log(f"start {number + 1} of {len(starts)}: ln E {best.evidence:.1f}, {told(best)}")
    if not found:
        raise WorkError("none of the starts led to a model: say how large the ring is with --theta-e, or give more --starts")
    return found


def _down(guide: Model, eta: np.ndarray) -> Found | None:
    try:
        return descend(guide, eta, STRENGTH, iterations=25)
    except np.linalg.LinAlgError:  # a start so far off that its columns are degenerate
        return None


def _on_pixels(model: Model, guide: Model, eta: np.ndarray, choices: Choices) -> Found | None:
    """Return where the model with a source on pixels gets to from the guide's parameters; Gaussians take over from a profile."""
    own = dict(zip(guide.names, eta.tolist(), strict=True))
    start = np.array([own[name if name in own else name.replace("light2", "light")] for name in model.names])
    try:
        grid = ring_grid(model, start, COARSE, choices.regularisation)
        return descend(model.on(grid), start, STRENGTH, iterations=10)
    except (np.linalg.LinAlgError, WorkError):
        return None


def _alike(smooth: Found, known: list[tuple[Found, Found]]) -> Found | None:
    """Return where pixels led from the same smooth model, if they were there before."""
    low, high = smooth.model.bounds
    for before, end in known:
        if (np.abs(smooth.eta - before.eta) < ALIKE * (high - low)).all():
            return end
    return None


def best_distinct(candidates: list[Found]) -> list[Found]:
    """Return the best descents that image their source more than once, in valleys of their own, the best first."""
    lenses = [one for one in candidates if not imaged_once(one)] or candidates
    kept: list[Found] = []
    for one in sorted(lenses, key=lambda found: -found.evidence):
        low, high = one.model.bounds
        mass = [one.model.names.index(name) for name in one.model.macro.names if name != "gamma"]
        apart = all((np.abs(one.eta - other.eta) > DISTINCT * (high - low))[mass].any() for other in kept)
        if apart and len(kept) < FINALISTS and (not kept or one.evidence > kept[0].evidence - WITHIN):
            kept.append(one)
    return kept


def scatter(found: Found, positions: Positions) -> float:
    """Return how far the images of each source are apart in the source plane, arcsec."""
    return float(positions.scatter(*found.model.traced(found.model.named(found.eta), *positions.images)))


def told(found: Found) -> str:
    """Return a clause on the state of a fit."""
    chi2, positions = found.solution.chi2 / found.model.observation.size, found.model.positions
    if found.model.points is not None:
        positions = found.model.points.at(found.model.named(found.eta))
    apart = "" if positions is None else f', positions {scatter(found, positions):.3f}" apart'
    return f'theta_E {found.eta[found.model.names.index("theta_E")]:.4f}", chi^2 a pixel {chi2:.3f}{apart}'
