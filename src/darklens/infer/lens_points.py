"""What is known of the point images of a lens: where they are, how bright, and how well the lens equation holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from darklens.fit.one_lens import LensFit
from darklens.infer.lens_posterior import QUANTILES, Posterior
from darklens.lensing import trace

DRAWS = 400
"""Of the parameters, for the intervals of what follows from them."""


def point_summary(fit: LensFit, posterior: Posterior) -> dict[str, Any] | None:
    """Return positions, fluxes, magnifications and the scatter in the source plane, with intervals; None without point images.

    Positions have the intervals of the posterior. Fluxes have those of the Gaussian about the optimum, all else free; what follows
    from masses and positions, those of draws.
    """
    points = fit.model.points
    if points is None:
        return None
    value = fit.model.named(fit.found.eta)
    masses, now = fit.model.masses(value), points.at(value)
    report, images = now.report(masses), []
    strength = now.magnifications(masses)
    for k, (flux, sigma) in enumerate(zip(*(a.tolist() for a in fit.point_fluxes()), strict=True)):
        ends = {key: flux + sigma * float(stats.norm.ppf(q)) if posterior.converged else None for key, q in QUANTILES.items()}
        images.append(
            {
                **{axis: posterior.intervals[f"point{k + 1}_{axis}"] for axis in "xy"},
                "flux": {"value": flux, **ends},
                "magnification": strength[k],
                "predicted": report["predicted"][k],
            }
        )
    drawn = _drawn(fit, posterior)
    best = _followed(fit, fit.found.eta[None])
    follows = {name: {"value": float(best[name][0])} | dict.fromkeys(QUANTILES) for name in best}
    if posterior.converged:
        spread = _followed(fit, drawn)
        for name, numbers in spread.items():
            follows[name] |= {key: float(np.quantile(numbers, q)) for key, q in QUANTILES.items()}
    return {
        "images": images,
        **follows,
        "chi2": report["chi2"],
        "sigma": report["sigma"],
        "image_plane_rms": report["image_plane_rms"],
        "psf_error": points.psf_error,
        "psf_error_measured": points.measured,
    }


def _followed(fit: LensFit, eta: np.ndarray) -> dict[str, np.ndarray]:
    """Return the largest separation in the source plane and the source's position, `(draws,)` each, for parameters `(draws, p)`."""
    points, value = fit.model.points, fit.model.named(eta)
    assert points is not None
    masses, places = fit.model.masses(value), points.where(value)
    beta = points.seen.offsets(masses, places)[1][:, 0].numpy()
    scatter = points.seen.scatter(*trace(masses, *places))[:, 0].numpy()
    return {"source_plane_scatter": scatter, "source_x": beta[:, 0], "source_y": beta[:, 1]}


def _drawn(fit: LensFit, posterior: Posterior) -> np.ndarray:
    """Return draws of the parameters, `(DRAWS, p)`: of the chains, or of the Gaussian within its bounds."""
    generator = np.random.default_rng(0)
    if posterior.samples is not None:
        flat = posterior.samples.flat[:, : len(fit.names)]
        return flat[generator.integers(len(flat), size=DRAWS)]
    return np.clip(generator.multivariate_normal(fit.found.eta, fit.covariance, DRAWS), *fit.model.bounds)
