"""Measure an instrument from images of smooth lenses: the width of the PSF, the background, the counts a unit stands for.

A PSF that is wrong by a sixth leaves residuals that look like substructure in every image. So the width is a parameter of the
whole set: chi^2 of all images together, each with its own best lens, has its minimum where the width is right, and its curvature
gives the error. The noise is what the residuals say: their variance is a straight line in the flux, whose intercept is the
background and whose slope is one over the counts a unit of the image stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from darklens.errors import InputError, WorkError
from darklens.fit.levenberg_marquardt import minimise
from darklens.fit.noise import SkyCounts, counts_per_unit
from darklens.fit.normal_equations import Images, normal_equations
from darklens.fit.plan import Plan
from darklens.fit.smooth import SmoothFit
from darklens.simulate import GaussianPSF
from darklens.units import FWHM_PER_SIGMA

SMOOTH = ("no", "no_sub", "smooth", "nosub")
"""Class names of lenses without substructure in the data sets of the field."""
RANGE = (0.35, 2.8)
"""Factors of the first guess between which the width is looked for."""
WARM_ITERATIONS = 8
BINS = 24


@dataclass(frozen=True)
class Calibration:
    """What was measured on n images; every number is (value, standard error).

    Args:
        psf_sigma: standard deviation of the Gaussian PSF, arcsec.
        background_sigma: scatter of an empty pixel, in the unit of the images (the median image's, if each has its own scale).
        counts_per_unit: counts that a unit of the image stands for, likewise.
        sky: counts a pixel of the sky, for images that are counts.
        chi2: mean reduced chi^2 with the first guess, and with what was measured.
        images: how many were used.
    """

    psf_sigma: tuple[float, float]
    background_sigma: tuple[float, float]
    counts_per_unit: tuple[float, float]
    sky: tuple[float, float] | None
    chi2: tuple[float, float]
    images: int

    @property
    def psf_fwhm(self) -> tuple[float, float]:
        """Full width at half maximum, arcsec."""
        return self.psf_sigma[0] * FWHM_PER_SIGMA, self.psf_sigma[1] * FWHM_PER_SIGMA

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, every measured number as value, low and high (68%)."""

        def interval(pair: tuple[float, float] | None) -> dict[str, float] | None:
            return None if pair is None else {"value": pair[0], "low": pair[0] - pair[1], "high": pair[0] + pair[1]}

        names = ("psf_sigma", "psf_fwhm", "background_sigma", "counts_per_unit", "sky")
        return {name: interval(getattr(self, name)) for name in names} | {
            "chi2_before": self.chi2[0],
            "chi2_after": self.chi2[1],
            "images": self.images,
        }


def calibrate(images: np.ndarray, plan: Plan, *, log: Callable[[str], None] = lambda sentence: None) -> Calibration:
    """Measure the width of a Gaussian PSF and the noise.

    Args:
        images: `(N, H, W)` of lenses without substructure.
        plan: the first guess; its PSF must be Gaussian.
        log: receives sentences.

    Raises:
        InputError: a PSF that is no Gaussian.
        WorkError: no lens could be fitted, or chi^2 has no minimum in the range.
    """
    if not isinstance(plan.psf, GaussianPSF):
        raise InputError("calibrate measures the width of a Gaussian PSF: give --psf-fwhm, or an instrument that has one")
    first = plan.fit(images)
    usable = first.converged & (first.chi2 < 3 * np.median(first.chi2))
    if not usable.any():
        raise WorkError(f"none of {len(images)} lenses could be fitted: check pixel scale and model")
    log(
        f"{int(usable.sum())} of {len(images)} lenses fitted, median reduced chi^2 {np.median(first.chi2):.3f} with the first guess"
    )
    search = _Search(images[usable], plan, plan.psf, first.parameters[usable])
    sigma, error = search.minimum()
    measured = replace(plan, psf=replace(plan.psf, fwhm=sigma * FWHM_PER_SIGMA))
    fit = measured.fit(images[usable])
    background, counts, sky = _noise(images[usable], measured, fit)
    chi2 = float(first.chi2[usable].mean()), float(fit.chi2.mean())
    return Calibration((sigma, error), background, counts, sky, chi2, int(usable.sum()))


class _Search:
    """Chi^2 of a set of images as a function of the PSF's width; every call starts from the lenses of the call before."""

    def __init__(self, images: np.ndarray, plan: Plan, psf: GaussianPSF, parameters: np.ndarray) -> None:
        v0, v1 = plan.noise.variance(images)
        self.arrays = images.astype(np.float64), v0, v1
        self.plan, self.psf, self.parameters = plan, psf, parameters
        # weights stay those of the first fit: chi^2 of different widths must be weighed alike
        pictures = self._pictures(psf.sigma)
        self.weights = normal_equations(pictures, plan.model, np.arange(len(images)), parameters).weights

    def _pictures(self, sigma: float) -> Images:
        psf = replace(self.psf, fwhm=sigma * FWHM_PER_SIGMA)
        return Images(*self.arrays, self.plan.pixel_scale, psf)

    def chi2(self, sigma: float) -> float:
        pictures, jobs = self._pictures(sigma), np.arange(len(self.parameters))
        state = minimise(pictures, self.plan.model, jobs, self.parameters, iterations=WARM_ITERATIONS)
        self.parameters = state.parameters
        return float(normal_equations(pictures, self.plan.model, jobs, state.parameters, self.weights).cost_in.sum())

    def minimum(self) -> tuple[float, float]:
        """Bracket the minimum outwards from the guess, then fit parabolas on ever finer triples."""
        centre, step = self.psf.sigma, 1.15
        low, high = (centre * f for f in RANGE)
        known: dict[float, float] = {}

        def at(sigma: float) -> float:
            if sigma not in known:
                known[sigma] = self.chi2(sigma)
            return known[sigma]

        while True:
            left, right = centre / step, centre * step
            if at(left) >= at(centre) <= at(right):
                break
            centre = left if at(left) < at(right) else right
            if not low < centre < high:
                raise WorkError(f'no PSF between {low:.4f}" and {high:.4f}" (sigma) fits best: start from a better guess')
        for width in (1.15, 1.05, 1.02):
            points = np.array([centre / width, centre, centre * width])
            a, b, _ = np.polyfit(points - centre, [at(p) for p in points], 2)
            if a <= 0:
                break
            centre += float(np.clip(-b / (2 * a), points[0] - centre, points[2] - centre))
        return centre, float((1 / a) ** 0.5) if a > 0 else float("nan")


def _noise(
    images: np.ndarray, plan: Plan, fit: SmoothFit
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float] | None]:
    """Return background scatter, counts a unit, and sky counts from the variance of the residuals against the flux."""
    read = np.array([counts_per_unit(image) or 0.0 for image in images]) * isinstance(plan.noise, SkyCounts)
    counted = bool(read.any())  # an image whose counts cannot be told says nothing of the sky
    scale = read if counted else np.ones(len(images))
    flux = (fit.model - fit["sky"][:, None, None]) * scale[:, None, None]
    square = ((images - fit.model) * scale[:, None, None]) ** 2
    good = np.isfinite(images) & (scale > 0)[:, None, None]
    flux, square = flux[good], square[good]
    edges = np.unique(np.quantile(flux, np.linspace(0, 1, BINS + 1)))
    index = np.clip(np.searchsorted(edges, flux, "right") - 1, 0, len(edges) - 2)
    count = np.bincount(index, minlength=len(edges) - 1)
    x = np.bincount(index, flux, len(edges) - 1) / count
    y = np.bincount(index, square, len(edges) - 1) / count
    weight = np.sqrt(count / 2) / y  # the variance of n squares of scatter s is s^2 sqrt(2/n)
    (slope, level), errors = np.polyfit(x, y, 1, w=weight, cov="unscaled")
    slope_error, level_error = np.sqrt(np.diag(errors))
    typical = float(np.median(scale[scale > 0]))
    background = level**0.5 / typical if level > 0 else float("nan")
    per_unit = typical / slope if slope > 0 else float("nan")
    sky = (float(level), float(level_error)) if counted else None
    return (
        (float(background), float(0.5 * level_error / max(level, 1e-300) * background)),
        (float(per_unit), float(per_unit * slope_error / max(slope, 1e-300))),
        sky,
    )
