"""Have the images changed? Two sets of them compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.runs import Run


def drift(
    a: str | Path,
    b: str | Path,
    *,
    run: str | Path | Run | None = None,
    out: str | Path | None = None,
    n: int | None = None,
    rate: float | None = None,
    bands: str | None = None,
    hdu: int | str | None = None,
    resize: bool = False,
    seed: int = 0,
    device: str = "auto",
    force: bool = False,
    on_skip: Callable[[str, str], None] = lambda what, why: None,
) -> dict[str, Any]:
    """Compare two sets of images: statistics of each image and band, a classifier that tells them apart, a network's features.

    With `out`, a folder gets drift.json, drift.html, drift.md and four pictures.

    Args:
        a: what is known: a table, or anything that darklens reads.
        b: what is to be judged.
        run: a trained run whose features, answers and flags on unusual images are compared as well.
        out: a folder.
        n: images of each that are drawn at random; 2000 by default.
        rate: of false alarms where nothing has changed; 0.01 by default.
        bands: only these, `g,r,i`.
        hdu: extension of FITS files.
        resize: let the network see images of another size, resampled.
        seed: of the draw and of the shuffles.
        device: where the network computes.
        force: replace a report that is there.
        on_skip: called with name and reason of what cannot be read.

    Returns:
        The report as plain data: `verdict` (words), `drift` (bool), `changes`, `statistics`, `classifier`, `network`.

    Raises:
        InputError: nothing readable, different bands, fewer than 10 images, images that do not fit the run, or `out` in the way.
        WorkError: the disk is full.
    """
    from darklens.evaluate.drift import RATE, compare_samples
    from darklens.report.drift import content_of, free_folder, write_drift
    from darklens.train.drift import MOST, draw_sample, judged
    from darklens.train.predictor import Predictor

    folder = None if out is None else free_folder(Path(out), force)
    found = run if isinstance(run, Run) or run is None else Run.open(run)
    predictor = None if found is None else Predictor(found, device)
    draws = [draw_sample(p, most=n or MOST, seed=seed, bands=bands, hdu=hdu, on_skip=on_skip) for p in (a, b)]
    first, second = (judged(str(p), records, predictor, resize=resize) for p, records in zip((a, b), draws, strict=True))
    named = draws[0][0].metadata.get("bands") if draws[0] else None
    count = draws[0][0].image.shape[0] if draws[0] else 1
    names = [str(name) for name in named] if named and len(named) == count else [f"band {i}" for i in range(count)]
    result = compare_samples(
        first, second, bands=names, classes=predictor.classes if predictor else (), rate=RATE if rate is None else rate, seed=seed
    )
    content = content_of(result, first, second, run=None if found is None else found.name if found.shipped else str(found.path))
    if folder is not None:
        write_drift(folder, result, first, second, names, content)
    return content
