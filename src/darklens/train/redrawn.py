"""The images of a run's preset, drawn again where its tables are gone: the same rows, with all that the recipe asked for."""

from __future__ import annotations

from darklens.data import Table
from darklens.runs import Run
from darklens.simulate import PRESETS, configured, options_of_split, simulate


def redrawn(run: Run, split: str, n: int) -> Table | None:
    """Return the first rows of a split of a run's own images, in memory; None where no preset makes them.

    Args:
        run: a run whose training has begun.
        split: train, validation or test.
        n: how many rows; of a training split no more than it had.

    Raises:
        InputError: the preset needs something that is not here any more, such as a folder of real galaxies.
    """
    card = run.data or {}
    part = (card.get("splits") or {}).get(split) or {}
    if card.get("preset") not in PRESETS or part.get("seed") is None:
        return None
    asked = options_of_split(split, run.recipe.get("data") or {})
    rows = min(n, part["rows"]) if split == "train" else n
    return simulate(configured(card["preset"], **asked), rows, seed=part["seed"])
