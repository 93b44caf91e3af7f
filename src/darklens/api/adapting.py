"""A run, adapted to images from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.api.trained_run import TrainedRun
from darklens.runs import Run


def adapt(
    run: str | Path | Run,
    to: str | Path,
    out: str | Path,
    *,
    method: str = "moments",
    source: str | Path | None = None,
    calibrate: bool = False,
    group: dict[str, str] | None = None,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    device: str = "auto",
    force: bool = False,
    on_skip: Callable[[str, str], None] | None = None,
    log: Callable[[str], None] = print,
    **settings: Any,
) -> TrainedRun:
    """Adapt a run to unlabelled images; the result is a run like any other.

    Args:
        run: the run, its folder, or the name of a shipped one.
        to: images of the target. They are divided by content; labels are read in the part for the test alone, if there are any.
        out: folder of the new run.
        method: "moments", "adda" or "self-training".
        source: labelled images of the run's own kind, where its training images are not at hand; "moments" needs none.
        calibrate: measure the PSF and the noise of the fits on the target first.
        group: label in the target -> class of the run.
        resize: accept images of another size.
        hdu: extension of FITS files.
        bands: the bands of the target in the run's order, `g,r,i`.
        device: where to compute.
        force: replace a run.
        on_skip: receives (name, reason) of what could not be used; by default that is an error.
        log: receives sentences.
        settings: epochs, batch_size, lr, rounds, confidence, source_images, test_fraction, seed.

    Returns:
        The new run; without labels in the target it has no metrics.

    Raises:
        InputError: the images, the folder, the method or a setting do not fit.
        WorkError: the adaptation failed; nothing is left of it.
    """
    from darklens.train.adaptation import AdaptConfig, adapt_run

    opened = run if isinstance(run, Run) else Run.open(run)
    found = adapt_run(
        opened, Path(to), Path(out), method, AdaptConfig(**settings), source=None if source is None else Path(source),
        calibrate=calibrate, group=group, resize=resize, hdu=hdu, bands=bands, device=device, force=force, on_skip=on_skip, log=log,
    )  # fmt: skip
    return TrainedRun(found.path)
