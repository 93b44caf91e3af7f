"""Some images of the kind that a run was trained on: to check with, not to learn from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from darklens.data import MANIFEST, Table, read
from darklens.errors import InputError
from darklens.runs import Run
from darklens.train.redrawn import redrawn


def own_images(run: Run, n: int, path: str | Path | None = None) -> np.ndarray:
    """Return images `(n, bands, H, W)` float32.

    Args:
        run: a run whose training has begun.
        n: how many; fewer where there are not so many.
        path: where to take them from. By default from the run's own test table, and where that is no longer there, simulated
            anew from the preset, its options and the seed of the test split: the same rows.

    Raises:
        InputError: the run's images are not here and no preset makes them, or nothing at `path` fits the run.
    """
    shape = tuple(run.model["shape"])
    if path is not None:
        return _fitting([record.image for record in islice(read(Path(path)), n)], shape, Path(path))
    card = run.data or {}
    test = (card.get("splits") or {}).get("test") or {}
    table = Path(test["path"]) if test.get("path") else None
    if table is not None and (table / MANIFEST).is_file():
        found = Table.open(table, allow_incomplete=True)
        return _fitting(list(found.images(np.arange(min(n, len(found))))), shape, table)
    if (again := redrawn(run, "test", n)) is not None:
        return _fitting(list(again.images()), shape, Path(card["preset"]))
    raise InputError(f"the images of {run} are not here and no preset makes them: give some of their kind with --data PATH")


def _fitting(images: list[np.ndarray], shape: tuple[int, ...], path: Path) -> np.ndarray:
    if wrong := next((image.shape for image in images if image.shape != shape), None):
        sizes = ("x".join(map(str, s)) for s in (wrong, shape))
        raise InputError("{} has images of {} and the run sees {}: give images of that shape".format(path, *sizes))
    return np.stack(images).astype(np.float32, copy=False)
