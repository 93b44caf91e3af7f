"""From images to what a network sees of them once smooth lenses have been fitted."""

from __future__ import annotations

import numpy as np

from darklens.data import Table
from darklens.fit import Plan, SmoothFit
from darklens.fit.lens_model import PARAMETERS
from darklens.fit.table import fitted_parameters
from darklens.models.pinn import LENS
from darklens.train.columns import apart, with_planes
from darklens.train.config import Preprocess


def lens_numbers(fits: Table, plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Return the fitted lens of rows of a table of fits, `(n, 7)` float32; what was not fitted has the plan's value."""
    return fitted_parameters(fits, plan, rows)[:, [PARAMETERS.index(name) for name in LENS]].astype(np.float32)


def network_inputs(images: np.ndarray, plan: Plan | None, settings: Preprocess) -> tuple[np.ndarray, SmoothFit | None]:
    """Fit what has to be fitted.

    Args:
        images: `(n, bands, H, W)`, with the planes of columns behind the bands where the network sees any.
        plan: how to fit; not used for networks that see images.
        settings: says what the network sees.

    Returns:
        `(n, bands, h, w)` float32 for `prepare`, and the fit, if there was one.
    """
    if settings.input == "image":
        return images, None
    assert plan is not None, "a network that sees what was fitted comes with its plan"
    images, columns = apart(images, len(settings.columns))
    fit = plan.fit(images[:, :1])
    if settings.input == "evidence":
        seen = plan.evidence(images[:, :1], fit, crop=settings.crop, bin=settings.bin)
    else:
        residuals = fit.residual[:, None].astype(np.float32)
        seen = residuals if settings.input == "residual" else np.concatenate([residuals, images], axis=1)
        if settings.input == "lens":
            seen = with_planes(seen, np.stack([fit[name] for name in LENS], 1))
    return with_planes(seen, columns), fit
