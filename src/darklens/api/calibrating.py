"""A model whose fits take PSF and noise from the images that it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darklens.train.answers import Judge


def calibrated(
    judge: Judge,
    path: str | Path,
    *,
    resize: bool = False,
    hdu: int | str | None = None,
    bands: str | None = None,
    log: Callable[[str], None] = lambda sentence: None,
) -> Judge:
    """Return a model whose fits use the PSF and the noise measured on the images at a path, evenly spread over them.

    Images that do not fit the model are left out here; who uses them next says why.

    Raises:
        InputError: the model fits no lenses, or too few of the images fit.
    """
    import numpy as np

    from darklens.data import read, resize_image
    from darklens.train.adaptation.images import sample
    from darklens.train.measured import IMAGES

    size = judge.shape[1:]
    records = sample(read(path, hdu=hdu, bands=bands, size=size if resize else None, on_skip=lambda where, why: None), IMAGES)
    images = [resize_image(r.image, size) if resize else r.image for r in records]
    fitting = [image for image in images if image.shape == judge.shape and np.isfinite(image).all()]
    stacked = np.stack(fitting) if fitting else np.zeros((0, *judge.shape), np.float32)
    return judge.calibrated_on(judge.checked(stacked) if fitting else stacked, log=log)
