"""What is known, or can be measured, about pairs of images: scale, gain, blur, brightness, and how far partners are shifted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from darklens.data import ImagePairs
from darklens.errors import InputError
from darklens.evaluate.registration import measured_shift, shifted
from darklens.models import ITERATIONS, blurred, upsampled
from darklens.units import FWHM_PER_SIGMA

LOOKED_AT = 32
"""Pairs from which blur and gain are measured, where no manifest says them."""
WIDEST, STEP = 4.0, 0.1
"""Largest blur that is looked for, and steps, in fine pixels."""
FARTHEST = 2.0
"""Shift in coarse pixels beyond which two images are no pair."""


def pair_facts(pairs: ImagePairs) -> dict[str, Any]:
    """Return what networks and baselines are told.

    Returns:
        `scale`; `gain`, the value of a fine pixel for that of a coarse one; `blur`, the deviation in fine pixels by which the
        coarse PSF is wider; `iterations`, with which Richardson-Lucy comes nearest to the sharp images; `unit`, the typical rise
        of a coarse image above its median; `peaks`, the smallest and the largest; `measured`, which of these were measured.

    Raises:
        InputError: the pairs show nothing.
    """
    about, few = pairs.about, pairs.take(np.arange(min(LOOKED_AT, len(pairs))))
    rises = pairs.low.max((1, 2, 3)) - np.median(pairs.low, axis=(1, 2, 3))
    gain = about.get("gain") or _gain(few)
    if not 0 < gain < np.inf:
        raise InputError(
            f"the light of the images in HR above the level of their border is {gain:.3g} of that in LR: pairs to learn from show "
            "something brighter than the sky, in both; look at them with darklens inspect"
        )
    widths = about.get("psf_fwhm")
    fine = (about.get("pixel_scale") or 1.0) / pairs.scale
    blur = (widths["LR"] ** 2 - widths["HR"] ** 2) ** 0.5 / FWHM_PER_SIGMA / fine if widths else _blur(few, gain)
    return {
        "scale": pairs.scale,
        "gain": float(gain),
        "blur": float(blur),
        "iterations": _iterations(few, float(gain), float(blur)),
        "unit": float(np.median(rises)),
        "peaks": [float(rises.min()), float(rises.max())],
        "measured": [name for name, known in (("gain", about.get("gain")), ("blur", widths)) if not known],
    }


def _gain(pairs: ImagePairs) -> float:
    """Return the ratio of the mean light above the border's level, fine over coarse."""
    light = [side.mean((1, 2, 3)) - _edge(side) for side in (pairs.high, pairs.low)]
    ratios = light[0] / np.where(light[1] == 0, np.nan, light[1])
    return float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else 0.0


def _edge(images: np.ndarray) -> np.ndarray:
    frame = np.ones(images.shape[-2:], dtype=bool)
    frame[2:-2, 2:-2] = False
    return images[..., frame].mean((1, 2))


def _blur(pairs: ImagePairs, gain: float) -> float:
    """Return the blur that, before binning, makes of the sharp images what is most like the coarse ones."""
    low, high = torch.from_numpy(pairs.low), torch.from_numpy(pairs.high)
    tried = np.arange(0, WIDEST + STEP / 2, STEP)
    misfits = [float((avg_pool2d(blurred(high, sigma), pairs.scale) / gain - low).var()) for sigma in tried]
    return float(tried[int(np.argmin(misfits))])


def _iterations(pairs: ImagePairs, gain: float, blur: float) -> int:
    """Return the number of iterations with the smallest error: the best that deconvolution can do here is what it is shown at."""
    low, high = torch.from_numpy(pairs.low), torch.from_numpy(pairs.high)
    errors = [
        float(((upsampled(low, pairs.scale, "richardson-lucy", gain=gain, blur=blur, iterations=n) - high) ** 2).mean())
        for n in ITERATIONS
    ]
    return ITERATIONS[int(np.argmin(errors))]


def registered(pairs: ImagePairs, path: Path) -> tuple[ImagePairs, np.ndarray]:
    """Measure how each sharp image is shifted against its coarse one, and move it back.

    Returns:
        The pairs, and the length of each shift in fine pixels, `(n,)`.

    Raises:
        InputError: a pair whose images lie so far apart that they are none; it is named.
    """
    coarse = upsampled(torch.from_numpy(pairs.low), pairs.scale).numpy()
    high, moved = pairs.high.copy(), np.zeros(len(pairs))
    for i, (image, reference) in enumerate(zip(pairs.high, coarse, strict=True)):
        dy, dx = measured_shift(image, reference)
        moved[i] = np.hypot(dy, dx)
        if moved[i] > FARTHEST * pairs.scale:
            raise InputError(
                f"{path / 'HR' / str(pairs.ids[i])} is shifted by {moved[i]:.1f} fine pixels against its partner in LR, the limit "
                f"is {FARTHEST * pairs.scale:g}: align the two, leave them out, or set super_resolution.register_pairs=false"
            )
        high[i] = shifted(image, -dy, -dx)
    return replace(pairs, high=high), moved
