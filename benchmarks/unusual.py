"""How often a trained network says of an image that it is unlike those it knows.

    python -m benchmarks.unusual RUN [RUN ...] [--n 600] [--galaxies PATH]

Its own images should be flagged once in a hundred; those of another instrument, of another simulator, and real galaxies that are no
lenses, often. Disturbances are those of `benchmarks.disturbances`; galaxies are whatever darklens reads at a path, one band
of them, `--band`. One JSON list a run, `runs/rows/unusual-NAME.json`, collected by `make results`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.disturbances import conditions, draw
from benchmarks.robustness import ROWS, machine, name_of
from darklens.data import read
from darklens.data.resize import resize_image
from darklens.errors import DarklensError, InputError
from darklens.evaluate.proportion import proportion
from darklens.files import write_json
from darklens.runs import Run
from darklens.simulate import preset
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance

SEED = 30_000
"""Of the images: no recipe trains or tests on it."""
KEPT = ("undisturbed", "psf x 0.8", "psf x 1.2", "noise x 0.5", "noise x 2", "multipoles 1.0%")
"""Conditions, besides every other simulator."""


def pictures(run: Run, n: int, galaxies: Path | None, band: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield name, description and images `(n, 1, H, W)` of each condition.

    Raises:
        InputError: the run was not trained on a preset, or no galaxy can be read.
    """
    name = (run.data or {}).get("preset")
    if name is None:
        raise InputError(f"{run.path} was not trained on a preset: its images cannot be drawn again")
    base = preset(name)
    for condition in conditions(base, {"psf", "noise", "lens", "simulator"}):
        if condition.name in KEPT or condition.kind == "simulator":
            yield condition.name, condition.change, draw(condition, base, n, SEED)[0]
    if galaxies is not None:
        images = np.stack([_fitted(record.image[band : band + 1], base.shape) for record in read(galaxies)])
        scaled = images - np.median(images[..., :4, :], axis=(-2, -1), keepdims=True)
        yield "real galaxies", f"{galaxies.name}: resampled to {base.shape[0]} pixels, sky subtracted", scaled
        yield "real galaxies, as bright", "the same, scaled to the peak of the preset's images", _as_bright(scaled, base, n)


def _fitted(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    side = min(image.shape[-2:])
    top, left = ((k - side) // 2 for k in image.shape[-2:])
    return resize_image(image[:, top : top + side, left : left + side], shape).astype(np.float32)


def _as_bright(images: np.ndarray, base: Any, n: int) -> np.ndarray:
    own = draw(conditions(base, set())[0], base, min(n, 60), SEED)[0]
    low, high = (np.median(f(own, axis=(-2, -1))) for f in (np.min, np.max))
    least, most = (f(images, axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    return ((images - least) / (most - least) * (high - low) + low).astype(np.float32)


def rows_of(run: Run, n: int, galaxies: Path | None, band: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield a row of the results for each condition.

    Raises:
        InputError: the run has no flag: it is older than that.
    """
    predictor = Predictor(run, device)
    if predictor.novelty is None:
        raise InputError(f"{run.path} has no flag for unusual images: train it again")
    made = provenance()
    for name, change, images in pictures(run, n, galaxies, band):
        answer = predictor.answers(predictor.checked(images)).unusual
        flagged = proportion(int(answer.flags.sum()), len(images))
        print(f"{run.path}, {name}: flagged {flagged['value']:.3f} of {len(images)} {answer.counts}", flush=True)
        yield {
            "block": "unusual",
            "model": run.model["name"],
            "recipe": run.name if run.shipped else run.recipe["name"],
            "data": name,
            "condition": {"name": name, "change": change},
            "metrics": {"flagged": flagged},
            "counts": answer.counts,
            "seeds": 1,
            "seed": SEED,
            "command": made["command"],
            "commit": made["commit"],
            "machine": machine(made["machine"]),
            "date": made["date"],
        }


def main(arguments: list[str]) -> int:
    """Measure the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--n", type=int, default=600, help="images of each condition")
    parser.add_argument("--galaxies", type=Path, help="real galaxies, no lenses: a folder, FITS files, a table")
    parser.add_argument("--band", type=int, default=0, help="which of their bands, counted from 0")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    try:
        for name in options.runs:
            run = Run.open(name)
            found: list[dict[str, Any]] = []
            for row in rows_of(run, options.n, options.galaxies, options.band, options.device):
                found.append(row)
                write_json(ROWS / f"unusual-{name_of(run)}.json", found)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
