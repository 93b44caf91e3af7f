"""A plan measured on the images it is used for: the width of the PSF and the noise, from those that a smooth lens fits best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from darklens.errors import DarklensError, InputError
from darklens.fit import Linear, Plan, SkyCounts, calibrate
from darklens.fit.calibration import Calibration
from darklens.simulate import GaussianPSF

IMAGES = 300
"""Images of which the smooth ones are looked for, at most."""
SMOOTH = 0.3
"""Fraction of the images that is taken for smooth: those of the lowest reduced chi^2."""
FEWEST = 8
"""Smooth lenses below which the width would be a guess."""
TOLERATED = 0.03
"""Relative error of the width that costs nothing: images of the right width are measured within 1.5%, and accuracy falls from 5% on
(docs/results.md, "Robustness")."""
ASKED = 90
"""Images on which the width is looked at when nobody has asked for it."""
ROUNDS = 2
"""A wrong PSF hides what is smooth: what was measured sorts the images anew."""


def measured_plan(
    images: np.ndarray, plan: Plan, *, log: Callable[[str], None] = lambda sentence: None
) -> tuple[Plan, Calibration]:
    """Return the plan with PSF and noise as the images have them; no label is needed.

    Where substructure is rare or weak the images that fit best are as good as smooth: a substructure that does not raise chi^2
    does not move the width either.

    Args:
        images: `(n, 1, H, W)` or `(n, H, W)`; at most `IMAGES` are used, evenly spread.
        plan: the first guess; its PSF is Gaussian.
        log: receives sentences.

    Raises:
        InputError: a PSF that is no Gaussian, or fewer than `FEWEST` smooth images.
        WorkError: nothing could be fitted, or no width fits best.
    """
    if not isinstance(plan.psf, GaussianPSF):
        raise InputError(
            "the PSF of this model is a tabulated one, and only the width of a Gaussian can be measured: leave --calibrate out"
        )
    flat = images[:, 0] if images.ndim == 4 else images
    flat = flat[np.unique(np.linspace(0, len(flat) - 1, min(len(flat), IMAGES)).astype(int))]
    if SMOOTH * len(flat) < FEWEST:
        raise InputError(f"{len(flat)} images to calibrate on: give at least {round(FEWEST / SMOOTH)}, a third of them smooth")
    current, psf = plan, plan.psf
    for _ in range(ROUNDS):
        fit = current.fit(flat)
        smooth = np.argsort(np.where(fit.converged, fit.chi2, np.inf), kind="stable")[: round(SMOOTH * len(flat))]
        found = calibrate(flat[smooth], current)
        psf = replace(psf, fwhm=found.psf_fwhm[0])
        current = _with(current, psf, found)
    log(
        f'PSF {plan.psf.fwhm:.4f}" measured as {psf.fwhm:.4f}" +- {found.psf_fwhm[1]:.4f}" (FWHM) on {found.images} images '
        f"that look smooth, reduced chi^2 {found.chi2[1]:.3f}"
    )
    return current, found


@dataclass(frozen=True)
class WrongPSF:
    """Widths (FWHM) in arcsec: what fits assume, and what their images have, with its error."""

    assumed: float
    measured: float
    error: float


def wrong_psf(images: np.ndarray, plan: Plan) -> WrongPSF | None:
    """Return what is wrong with the width of a plan's PSF for these images, None where it is right.

    None as well where nothing can be said: too few images, a PSF that is no Gaussian, no width that fits.

    Args:
        images: `(n, 1, H, W)` or `(n, H, W)`.
        plan: what the fits of these images assume.
    """
    if not isinstance(plan.psf, GaussianPSF) or SMOOTH * len(images) < FEWEST:
        return None
    try:
        width, error = measured_plan(images, plan)[1].psf_fwhm
    except DarklensError:
        return None
    wrong = abs(width / plan.psf.fwhm - 1) > TOLERATED and not abs(width - plan.psf.fwhm) < 3 * error
    return WrongPSF(plan.psf.fwhm, width, error) if wrong else None


def _with(plan: Plan, psf: GaussianPSF, found: Calibration) -> Plan:
    """Return the plan with the PSF and the noise that were measured, of these what is a finite number."""
    noise = plan.noise
    if isinstance(noise, SkyCounts) and found.sky is not None and found.sky[0] > 0:
        noise = SkyCounts(found.sky[0])
    elif isinstance(noise, Linear):
        values = found.background_sigma[0], found.counts_per_unit[0]
        noise = Linear(
            *(
                new if np.isfinite(new) and new > 0 else old
                for new, old in zip(values, (noise.background_sigma, noise.exposure), strict=True)
            )
        )
    return replace(plan, psf=psf, noise=noise, origin=f"{plan.origin}, measured on the images")
