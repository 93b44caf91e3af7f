"""Tables and runs for the scoring benchmarks: many cutouts from few, and networks that nobody trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darklens.data import Table, TableWriter
from darklens.models import build
from darklens.runs import Run
from darklens.simulate import simulate
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess

PRESET, BASE = "lens-finding", 512
CLASSES = ("nonlens", "lens")
AT_ONCE = 1024
NOISE = 0.02
LEVELS = 256
"""Pixels are rounded to so many levels, so that 10^6 cutouts fit on a small disk."""


def write_table(path: Path, n: int, size: int) -> Path:
    """Write n cutouts, `(3, size, size)`, min-max normalised; a table that was begun is continued.

    A row is a rendered cutout, turned and mirrored, with noise of its own: a function of its number.
    """
    manifest = {"preset": f"{PRESET}, repeated with fresh noise", "seed": 0, "rows": n, "units": {"ra": "deg", "dec": "deg"}}
    with TableWriter(path, shape=(3, size, size), classes=CLASSES, manifest=manifest) as writer:
        if writer.rows_done < n:
            base = _base(size)
        for first in range(writer.rows_done, n, AT_ONCE):
            rows = np.arange(first, min(first + AT_ONCE, n))
            rng = np.random.default_rng([0, first])
            place = {"ra": rng.uniform(0, 360, len(rows)), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, len(rows))))}
            writer.write_columns([f"cutout-{row:09d}" for row in rows], _cutouts(base, rows, rng), [None] * len(rows), place)
    return path


def _base(size: int) -> np.ndarray:
    images = simulate(PRESET, BASE, seed=0).images()
    border = (images.shape[-1] - size) // 2
    return images[..., border : border + size, border : border + size]


def _cutouts(base: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turned = np.stack([np.rot90(base[row % len(base)], row // len(base) % 4, (1, 2)) for row in rows])
    images = turned + NOISE * rng.standard_normal(turned.shape, dtype=np.float32)
    low, high = images.min((2, 3), keepdims=True), images.max((2, 3), keepdims=True)
    return np.rint((images - low) / (high - low) * (LEVELS - 1)) / LEVELS


def begin_run(path: Path, model: str, size: int) -> Path:
    """Make a run with fresh weights, unless it is there."""
    if (path / "weights.safetensors").is_file():
        return path
    run = Run.create(path, {"name": f"fresh-{model}", "seed": 0})
    about = {"options": {}, "group": {}, "pixel_scale": 0.4, "flux_unit": "none", "single_logit": False, "seed": 0}
    about |= {"name": model, "classes": list(CLASSES), "shape": [3, size, size]}
    run.write("model", about | {"preprocess": Preprocess(normalise="min-max").model_dump()})
    save_weights(
        run.path / "weights.safetensors", build(model, bands=3, classes=2, size=size, pixel_scale=0.4, seed=0).state_dict()
    )
    return path


def rows_of(path: Path) -> int:
    """Return the rows of a finished table."""
    return len(Table.open(path))
